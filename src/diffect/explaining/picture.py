"""The picture of an explanation: what was seen, where it is wrong, what normal looks like there, what spoke against it.

Drawn in pixels of the original photograph, so that the axes are a ruler.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffect.explaining.explanation import Explanation
from diffect.explaining.explanation import figure as _figure
from diffect.explaining.nearest import Cells, edges
from diffect.gallery import colours

_OUTLINE = "#00e5ff"  # a colour that neither photographs of parts nor the maps have
_FLAGGED, _PASSED, _GREY = "#c62828", "#2e7d32", "#555555"
_BARS = "#37568c"
_LEFT, _RIGHT = 0.045, 0.975
_CONTEXT = 0.28  # side of a shown patch, in short sides of the canvas
_SIZE = (10.4, 9.2)  # inches
_LONG = 2.7  # width by height from which images are larger one above the other
_DPI = 110


def draw(one: Explanation) -> bytes:
    """PNG of an explanation; equal explanations are equal bytes."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context({"font.size": 9, "font.family": "DejaVu Sans", "axes.titlesize": 9, "axes.titlelocation": "left"}):
        figure = Figure(figsize=_SIZE, facecolor="white")
        FigureCanvasAgg(figure)
        parts: Any = figure.subfigures(4, 1, height_ratios=(1.25, 4.65, 1.95, 1.55), hspace=0)
        _heading(parts[0], one)
        _upper(parts[1], one)
        _patches(parts[2], one)
        _bars(parts[3], one)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _heading(figure: Any, one: Explanation) -> None:
    colour = _GREY if one.flagged is None else _FLAGGED if one.flagged else _PASSED
    named = one.name if one.category is None else f"{one.name}  ·  {one.category}"
    figure.text(_LEFT, 0.8, textwrap.shorten(named, 64, placeholder=" …"), size=13, weight="bold", va="center")
    figure.text(_RIGHT, 0.8, one.verdict, size=13, weight="bold", color=colour, ha="right", va="center")
    said = textwrap.shorten(" ".join(one.sentences), 560, placeholder=" …")
    figure.text(
        _LEFT,
        0.58,
        textwrap.fill(said, 145, break_on_hyphens=False),
        size=9,
        color="#222222",
        va="top",
        linespacing=1.35,
    )


def _upper(figure: Any, one: Explanation) -> None:
    """Photograph, map and, where there is one, reconstruction, side by side or one above the other."""
    height, width = one.photograph.shape[:2]
    count = 2 + (one.rebuilt is not None)
    shape = (count, 1) if width > _LONG * height else (1, count)
    room = {"left": _LEFT, "right": _RIGHT, "bottom": 0.06, "top": 0.93, "wspace": 0.1, "hspace": 0.35}
    axes = figure.subplots(*shape, squeeze=False, gridspec_kw=room).flat
    extent = (0, width, height, 0)
    axes[0].imshow(one.photograph, extent=extent)
    _outline(axes[0], one)
    axes[0].set_title("photograph, in pixels")
    middle = one.outline if one.outline is not None else one.region.level
    inside = one.map[one.fitting.valid]
    axes[1].imshow(colours(inside, float(np.median(inside)), middle), extent=extent, interpolation="bilinear")
    _outline(axes[1], one)
    axes[1].set_title(_map_title(one))
    if one.rebuilt is not None:
        axes[2].imshow(one.rebuilt[one.fitting.valid], extent=extent)
        axes[2].set_title("as the model rebuilds it")
    for axis in axes:
        axis.set_anchor("W")
        axis.tick_params(length=2, labelsize=7, labelcolor=_GREY, color=_GREY)
        axis.spines[:].set_visible(False)


def _map_title(one: Explanation) -> str:
    peak = _figure(float(one.map[one.region.peak]))
    if one.outline is None:
        return f"anomaly map, peak {peak}"
    return f"anomaly map, peak {peak}, outlined above {_figure(one.outline)}"


def _outline(axis: Any, one: Explanation) -> None:
    """All that exceeds the promised threshold; a box about the worst region, dashed where it does not."""
    from matplotlib.patches import Rectangle

    rows, columns = one.fitting.valid
    inside = one.map[rows, columns]
    down, across = one.fitting.steps
    x, y = (np.arange(inside.shape[1]) + 0.5) * across, (np.arange(inside.shape[0]) + 0.5) * down
    if one.region.outlined and min(inside.shape) > 1:
        axis.contour(x, y, inside, levels=[one.region.level], colors=[_OUTLINE], linewidths=1.6)
    left, top, width, height = one.region.box(one.fitting)
    style = (0, (1, 2)) if one.region.outlined else (0, (4, 3))
    axis.add_patch(Rectangle((left, top), width, height, fill=False, color=_OUTLINE, lw=1.0, ls=style))


def _patches(figure: Any, one: Explanation) -> None:
    """The worst patch, the normal one at the same place, and those that come nearest wherever they lie."""
    room = {"left": _LEFT, "right": _RIGHT, "bottom": 0.2, "top": 0.84, "wspace": 0.1}
    axes = figure.subplots(1, 5, gridspec_kw=room)
    for axis in axes:
        axis.set_anchor("W")
        axis.set_axis_off()
    _patch(axes[0], one.image, one.cells, one.grid, _OUTLINE)
    axes[0].set_title("the worst patch")
    if one.normal is None or one.normal.here is None:
        said = "No normal patch to compare with: the training images are gone." if one.normal is None else "No image."
        axes[1].text(0, 0.5, textwrap.fill(said, 40), transform=axes[1].transAxes, color=_GREY, va="center")
        return
    if one.normal.usual is not None:
        said = f"normal images here are usually\n{_figure(one.normal.usual)} from each other"
        axes[0].text(0, -0.05, said, transform=axes[0].transAxes, size=7, color=_GREY, va="top")
    titles = ["normal at this place", "nearest normal", "second nearest", "third nearest"]
    for axis, title, found in zip(axes[1:], titles, [one.normal.here, *one.normal.anywhere], strict=False):
        _patch(axis, found.image, found.cells, one.grid, "white")
        axis.set_title(title)
        left, top, width, height = found.box
        at = f"at {left + width / 2:.0f}, {top + height / 2:.0f} px; distance {_figure(found.distance)}"
        axis.text(0, -0.05, f"{_short(found.name)}\n{at}", transform=axis.transAxes, size=7, color=_GREY, va="top")


def _patch(axis: Any, image: NDArray[np.uint8], cells: Cells, grid: tuple[int, int], colour: str) -> None:
    """A square of the image about its cells, which are framed."""
    from matplotlib.patches import Rectangle

    height, width = image.shape[:2]
    top, left, bottom, right = edges(cells, (height, width), grid)
    side = min(max(_CONTEXT * min(height, width), 8.0), float(min(height, width)))
    x = min(max((left + right - side) / 2, 0), width - side)
    y = min(max((top + bottom - side) / 2, 0), height - side)
    axis.imshow(image, extent=(0, width, height, 0), interpolation="bilinear")
    axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color="black", lw=2.6))
    axis.add_patch(Rectangle((left, top), right - left, bottom - top, fill=False, color=colour, lw=1.3))
    axis.set(xlim=(x, x + side), ylim=(y + side, y))


def _bars(figure: Any, one: Explanation) -> None:
    """What the score is made of, once by pyramid level and once by noise level."""
    groups = {"by pyramid level": one.by_pyramid, "by noise level": one.by_noise}
    room = {"left": 0.13, "right": 0.9, "bottom": 0.08, "top": 0.8, "wspace": 0.6}
    axes = figure.subplots(1, 2, gridspec_kw=room)
    reach = [value for group in groups.values() for value in group.values()]
    rows = max(3, *map(len, groups.values()))
    for axis, (title, group) in zip(axes, groups.items(), strict=True):
        _bar(axis, group, one.score)
        axis.set_xlim(min(0.0, *reach), max(1e-12, *reach))
        axis.set_ylim(rows - 0.5, -0.5)
        axis.set_title(f"the score of {_figure(one.score)}, {title}")


def _bar(axis: Any, group: Mapping[str, float], score: float) -> None:
    names, values = list(group), list(group.values())
    axis.barh(names, values, color=_BARS, height=0.62)
    for place, value in enumerate(values):
        share = f" ({value / score:.0%})" if score > 0 else ""
        axis.annotate(
            f"{_figure(value)}{share}", (max(value, 0), place), (4, 0), textcoords="offset points", va="center", size=8
        )
    axis.axvline(0, color=_GREY, lw=0.8)
    axis.tick_params(length=0, labelbottom=False)
    axis.spines[:].set_visible(False)


def _short(name: str) -> str:
    return name if len(name) <= 26 else f"… {name[-24:]}"
