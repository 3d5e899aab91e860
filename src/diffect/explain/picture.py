"""The picture of an explanation: the photograph, where it is wrong, what is normal there, and what adds to the score.

Drawn in pixels of the original photograph, so that the axes are a ruler.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffect.explain.explanation import Explanation, three_digits
from diffect.explain.nearest import Cells, edges
from diffect.training.gallery import colours

_Frame = tuple[float, float, float, float]  # left, top, width and height
_OUTLINE = "#00e5ff"  # a colour that neither photographs of parts nor the maps have
_FLAGGED, _PASSED, _GREY = "#c62828", "#2e7d32", "#555555"
_BARS = "#37568c"
_DPI = 110
# In inches:
_WIDTH, _MARGIN, _GAP = 10.4, 0.45, 0.4
_TITLE = 0.3  # for a title, or for numbers below an image
_BAR, _BAR_ROOM = 0.14, 1.15  # the colour bar, and with its numbers
_TALLEST = 5.4  # an image
_LINE = 0.185  # of text
_PATCHES, _ROW = 1.95, 0.24  # the row of patches, and of bars one

_LONG = 2.7  # width by height from which images are larger one above the other
_CONTEXT = 0.28  # side of a shown patch, in short sides of the canvas
_CHARACTERS = 145  # on a line


def draw(one: Explanation) -> bytes:
    """PNG of an explanation; equal explanations are equal bytes."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = textwrap.wrap(" ".join(one.sentences), _CHARACTERS, break_on_hyphens=False)
    frames, height = _frames(one)
    rows = max(map(len, one.shares.values()), default=0)
    parts = {
        "heading": 0.75 + _LINE * len(lines),
        "images": height,
        "patches": _PATCHES,
        "bars": 0.5 + _ROW * rows if rows else 0.1,
    }
    with rc_context({"font.size": 9, "font.family": "DejaVu Sans", "axes.titlesize": 9, "axes.titlelocation": "left"}):
        figure = Figure(figsize=(_WIDTH, sum(parts.values())), facecolor="white")
        FigureCanvasAgg(figure)
        drawn: Any = figure.subfigures(len(parts), 1, height_ratios=list(parts.values()), hspace=0)
        page = dict(zip(parts, drawn, strict=True))
        _heading(page["heading"], one, lines, parts["heading"])
        _images(page["images"], one, frames, height)
        _patches(page["patches"], one)
        if rows:
            _bars(page["bars"], one, parts["bars"])
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _heading(figure: Any, one: Explanation, lines: list[str], height: float) -> None:
    colour = _GREY if one.result.flagged is None else _FLAGGED if one.result.flagged else _PASSED
    category = "" if one.result.category is None else f"  ·  {_short(one.result.category, 20)}"
    named = _short(one.name, 52 - len(category)) + category
    left, right, top = _MARGIN / _WIDTH, 1 - _MARGIN / _WIDTH, 1 - 0.3 / height
    figure.text(left, top, named, size=13, weight="bold", va="center", parse_math=False)
    figure.text(right, top, one.decision, size=13, weight="bold", color=colour, ha="right", va="center")
    text, below = "\n".join(lines), 1 - 0.55 / height
    figure.text(left, below, text, size=9, color="#222222", va="top", linespacing=1.35, parse_math=False)


def _frames(one: Explanation) -> tuple[list[_Frame], float]:
    """Where photograph, map and, where there is one, reconstruction go, and the height that they take, in inches.

    Side by side, or one above the other where the photograph is long; the map has room for its colour bar.
    """
    tall, wide = one.photograph.shape[:2]
    count = 2 + (one.rebuilt is not None)
    room = _WIDTH - 2 * _MARGIN - _BAR_ROOM
    if wide > _LONG * tall:
        height = room * tall / wide
        tops = [_TITLE + i * (height + 2 * _TITLE) for i in range(count)]
        return [(_MARGIN, top, room, height) for top in tops], tops[-1] + height + _TITLE
    width = min((room - (count - 1) * _GAP) / count, _TALLEST * wide / tall)
    height = width * tall / wide
    lefts = [_MARGIN + i * (width + _GAP) + (i > 1) * _BAR_ROOM for i in range(count)]
    return [(left, _TITLE, width, height) for left in lefts], height + 2 * _TITLE


def _images(figure: Any, one: Explanation, frames: list[_Frame], height: float) -> None:
    """Photograph, map and reconstruction, in pixels of the photograph."""
    tall, wide = one.photograph.shape[:2]
    valid, scale = one.fitting.valid, one.colours
    shown = {
        "photograph, in pixels": one.photograph,
        _map_title(one): colours(one.map[valid], scale.low, scale.middle),
    }
    if one.rebuilt is not None:
        shown["as the model rebuilds it"] = one.rebuilt[valid]
    for number, (title, image) in enumerate(shown.items()):
        axis = _axis(figure, frames[number], height)
        axis.imshow(image, extent=(0, wide, tall, 0), interpolation="bilinear", aspect="auto")
        axis.set_title(title)
        axis.tick_params(length=2, labelsize=7, labelcolor=_GREY, color=_GREY)
        axis.spines[:].set_visible(False)
        if number < 2:
            _outline(axis, one)
    left, top, width, below = frames[1]
    _colour_bar(_axis(figure, (left + width + 0.12, top, _BAR, below), height), one)


def _axis(figure: Any, frame: _Frame, height: float) -> Any:
    left, top, wide, tall = frame
    return figure.add_axes((left / _WIDTH, 1 - (top + tall) / height, wide / _WIDTH, tall / height))


def _colour_bar(axis: Any, one: Explanation) -> None:
    """The colours of the map with the values that they stand for; a triangle at the image's own peak."""
    scale, peak = one.colours, one.peak
    steps = np.linspace(0, 1, 256, endpoint=False)
    ramp = colours((steps / (1 - steps)).astype(np.float32)[:, None], 0.0, 1.0)
    axis.imshow(ramp, extent=(0, 1, 0, 1), origin="lower", aspect="auto")
    names = [three_digits(value) for value in scale.ticks]
    if one.outline is not None:
        names[1] += " threshold"
        axis.axhline(scale.position(scale.middle), color=_OUTLINE, lw=1.6)
    axis.set_xticks([])
    axis.set_yticks([scale.position(value) for value in scale.ticks], names)
    axis.yaxis.tick_right()
    axis.tick_params(length=2, labelsize=7, labelcolor=_GREY, color=_GREY)
    axis.spines[:].set_visible(False)
    axis.plot([0], [scale.position(peak)], marker=5, color="black", markersize=6, clip_on=False)
    axis.set(xlim=(0, 1), ylim=(0, 1))


def _map_title(one: Explanation) -> str:
    peak = three_digits(one.peak)
    if one.outline is None:
        return f"anomaly map, peak {peak}"
    return f"anomaly map, peak {peak}, outlined above {three_digits(one.outline)}"


def _outline(axis: Any, one: Explanation) -> None:
    """All that exceeds the promised threshold, and a box around the worst region, dashed where it does not."""
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
    """The worst patch, the normal one at the same place, and the nearest ones anywhere."""
    room = {"left": _MARGIN / _WIDTH, "right": 1 - _MARGIN / _WIDTH, "bottom": 0.2, "top": 0.84, "wspace": 0.1}
    axes = figure.subplots(1, 5, gridspec_kw=room)
    for axis in axes:
        axis.set_anchor("W")
        axis.set_axis_off()
    _patch(axes[0], one.image, one.cells, one.grid, _OUTLINE)
    axes[0].set_title("the worst patch")
    if one.normal is None or one.normal.here is None:
        missing = (
            "No normal patch to compare with: the training images are gone." if one.normal is None else "No image."
        )
        axes[1].text(0, 0.5, textwrap.fill(missing, 40), transform=axes[1].transAxes, color=_GREY, va="center")
        return
    if one.normal.usual is not None:
        text = f"normal images here are usually\n{three_digits(one.normal.usual)} from each other"
        axes[0].text(0, -0.05, text, transform=axes[0].transAxes, size=7, color=_GREY, va="top")
    titles = ["normal at this place", "nearest normal", "second nearest", "third nearest"]
    for axis, title, near in zip(axes[1:], titles, [one.normal.here, *one.normal.anywhere], strict=False):
        _patch(axis, near.image, near.cells, one.grid, "white")
        axis.set_title(title)
        left, top, width, height = near.box
        at = f"at {left + width / 2:.0f}, {top + height / 2:.0f} px; distance {three_digits(near.distance)}"
        text = f"{_short(near.name, 26)}\n{at}"
        axis.text(0, -0.05, text, transform=axis.transAxes, size=7, color=_GREY, va="top", parse_math=False)


def _patch(axis: Any, image: NDArray[np.uint8], cells: Cells, grid: tuple[int, int], colour: str) -> None:
    """A square of the image around its cells, which are framed."""
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


def _bars(figure: Any, one: Explanation, height: float) -> None:
    """What adds to the score, once by scale and once by noise level, whichever has several."""
    room = {"left": 0.17, "right": 0.9, "bottom": 0.1 / height, "top": 1 - 0.35 / height, "wspace": 0.75}
    axes = figure.subplots(1, 2, gridspec_kw=room)
    reach = [value for group in one.shares.values() for value in group.values()]
    rows = max(map(len, one.shares.values()))
    for axis in axes[len(one.shares) :]:
        axis.set_axis_off()
    for axis, (title, group) in zip(axes, one.shares.items(), strict=False):
        _bar(axis, group, one.score)
        axis.set_xlim(min(0.0, *reach), 1.2 * max(1e-12, *reach))  # a fifth for what is written
        axis.set_ylim(rows - 0.5, -0.5)
        cells = f", cells of {one.cell[1]:.0f} x {one.cell[0]:.0f} px" if title == "scale" else ""
        axis.set_title(f"the score of {three_digits(one.score)} by {title}{cells}")


def _bar(axis: Any, group: Mapping[str, float], score: float) -> None:
    names, values = list(group), list(group.values())
    axis.barh(names, values, color=_BARS, height=0.62)
    for row, value in enumerate(values):
        share = f" ({value / score:.0%})" if score > 0 else ""
        axis.annotate(
            f"{three_digits(value)}{share}",
            (max(value, 0), row),
            (4, 0),
            textcoords="offset points",
            va="center",
            size=8,
        )
    axis.axvline(0, color=_GREY, lw=0.8)
    axis.tick_params(length=0, labelbottom=False)
    axis.spines[:].set_visible(False)


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"… {name[2 - most :]}"
