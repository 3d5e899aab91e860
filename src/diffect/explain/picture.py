"""The picture of an explanation: the photograph, where it is wrong, what is normal there, and what adds to the score.

Drawn in pixels of the original photograph, so that the axes are a ruler.
"""

import io
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffect.explain.explanation import Explanation, three_digits
from diffect.explain.nearest import Cells, edges
from diffect.training.colours import COLOURS, OUTLINE

_OUTLINE = f"#{bytes(OUTLINE).hex()}"
_FLAGGED, _PASSED, _GREY, _BARS = "#c62828", "#2e7d32", "#555555", "#37568c"
_STYLE: Any = {
    **{"font.family": "DejaVu Sans", "font.size": 9, "axes.titlesize": 9, "axes.titlelocation": "left"},
    **{"axes.spines.left": False, "axes.spines.right": False, "axes.spines.top": False, "axes.spines.bottom": False},
    **{"xtick.major.size": 2, "xtick.labelsize": 7, "xtick.color": _GREY},
    **{"ytick.major.size": 2, "ytick.labelsize": 7, "ytick.color": _GREY, "axes.labelcolor": _GREY},
}
_DPI = 110
_WIDTH, _TALLEST, _LINE = 10.4, 5.4, 0.185  # inches: the picture, an image, a line of text
_MARGIN, _GAP, _BAR = 0.3, 0.55, 0.9  # inches: at the sides, between images, and for the colour bar
_LONG = 2.7  # width by height from which images are drawn one below the other
_CONTEXT = 0.28  # side of a patch with its surroundings, as a share of the canvas's short side
_CHARACTERS = 145  # on a line


def draw(explained: Explanation) -> bytes:
    """PNG of an explanation; equal explanations are equal bytes."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = textwrap.wrap(" ".join(explained.sentences), _CHARACTERS, break_on_hyphens=False)
    bars = max(map(len, explained.shares.values()), default=0)
    count, (tall, wide) = 2 + (explained.rebuilt is not None), explained.photograph.shape[:2]
    columns = 1 if wide > _LONG * tall else count
    side = (_WIDTH - 2 * _MARGIN - _BAR - (columns - 1) * _GAP) / columns
    image = min(side * tall / wide, _TALLEST)
    heights = [0.75 + _LINE * len(lines), count // columns * (image + _GAP), 2.0, 0.5 + 0.24 * bars if bars else 0.1]
    with rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, sum(heights)), facecolor="white")
        FigureCanvasAgg(figure)
        parts: Any = figure.subfigures(len(heights), 1, height_ratios=heights)
        _heading(parts[0], explained, lines, heights[0])
        gaps = {"wspace": _GAP / side, "hspace": _GAP / image}
        _images(_axes(parts[1], heights[1], count // columns, columns, _MARGIN + _BAR, 0.25, **gaps).flat, explained)
        _patches(_axes(parts[2], heights[2], 1, 5, _MARGIN, 0.4, wspace=0.3)[0], explained)
        if bars:
            _bars(_axes(parts[3], heights[3], 1, 2, _MARGIN, 0.1, left=1.6, wspace=0.6)[0], explained, bars)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    return buffer.getvalue()


def _axes(
    figure: Any, height: float, rows: int, columns: int, right: float, below: float, left: float = 0.45, **gaps: float
) -> Any:
    """Axes (rows, columns) of a part of the picture, whose height and margins are in inches."""
    room = {"left": left / _WIDTH, "right": 1 - right / _WIDTH, "bottom": below / height, "top": 1 - 0.3 / height}
    return figure.subplots(rows, columns, squeeze=False, gridspec_kw=room | gaps)


def _heading(figure: Any, explained: Explanation, lines: Sequence[str], height: float) -> None:
    colour = _GREY if explained.result.flagged is None else _FLAGGED if explained.result.flagged else _PASSED
    category = "" if explained.result.category is None else f"  ·  {_short(explained.result.category, 20)}"
    title: dict[str, Any] = {"y": 1 - 0.3 / height, "size": 13, "weight": "bold", "va": "center", "parse_math": False}
    figure.text(0.02, s=_short(explained.name, 52 - len(category)) + category, **title)
    figure.text(0.98, s=explained.decision, color=colour, ha="right", **title)
    text, below = "\n".join(lines), 1 - 0.55 / height
    figure.text(0.02, below, text, color="#222222", va="top", linespacing=1.35, parse_math=False)


def _images(axes: Any, explained: Explanation) -> None:
    """Photograph, reconstruction where there is explained, and map, in pixels of the photograph."""
    tall, wide = explained.photograph.shape[:2]
    above = "" if explained.outline is None else f", outlined above {three_digits(explained.outline)}"
    shown = {"photograph, in pixels": explained.photograph}
    if explained.rebuilt is not None:
        shown["as the model rebuilds it"] = explained.rebuilt[explained.fitting.valid]
    values = explained.colours.position(explained.map[explained.fitting.valid])
    for axis, (title, image) in zip(axes, (shown | {"map": values}).items(), strict=True):
        extent = (0, wide, tall, 0)
        drawn = axis.imshow(image, COLOURS, vmin=0, vmax=1, extent=extent, interpolation="bilinear")
        axis.set(title=title, anchor="NW")
    axis.set_title(f"anomaly map, peak {three_digits(explained.peak)}{above}")
    place = (1 + 0.04 * tall / wide, 0, 0.05 * tall / wide, 1)  # in widths and heights of the map
    _colour_bar(axis.figure.colorbar(drawn, cax=axis.inset_axes(place)), explained)
    for marked in (axes[0], axis):
        _outline(marked, explained)


def _colour_bar(bar: Any, explained: Explanation) -> None:
    """The values that the colours of the map stand for, and a triangle at the image's peak."""
    scale = explained.colours
    names = [three_digits(value) for value in scale.ticks]
    if explained.outline is not None:
        names[1] += " threshold"
        bar.ax.axhline(scale.position(scale.middle), color=_OUTLINE, lw=1.6)
    bar.set_ticks(scale.position(scale.ticks), labels=names)
    bar.outline.set_visible(False)
    bar.ax.plot([0], [scale.position(explained.peak)], marker=5, color="black", markersize=6, clip_on=False)


def _outline(axis: Any, explained: Explanation) -> None:
    """A line around all that exceeds the threshold of maps, and a box around the worst region, dashed if none does."""
    inside, (down, across) = explained.map[explained.fitting.valid], explained.fitting.steps
    x, y = (np.arange(inside.shape[1]) + 0.5) * across, (np.arange(inside.shape[0]) + 0.5) * down
    if explained.region.outlined and min(inside.shape) > 1:
        axis.contour(x, y, inside, levels=[explained.region.level], colors=[_OUTLINE], linewidths=1.6)
    style = (0, (1, 2)) if explained.region.outlined else (0, (4, 3))
    _rectangle(axis, *explained.region.box(explained.fitting), color=_OUTLINE, lw=1.0, ls=style)


def _patches(axes: Any, explained: Explanation) -> None:
    """The worst patch, the normal one at the same place, and the nearest ones anywhere."""
    for axis in axes:
        axis.set(xticks=[], yticks=[], anchor="NW", facecolor="none")
    axes[0].set_title("the worst patch")
    _patch(axes[0], explained.image, explained.cells, explained.grid, _OUTLINE)
    if explained.normal is None or explained.normal.here is None:
        missing = "No image." if explained.normal else "No normal patch to compare with:\nthe training images are gone."
        axes[1].text(0, 0.5, missing, transform=axes[1].transAxes, color=_GREY, va="center")
        return
    if explained.normal.usual is not None:
        _below(axes[0], f"normal images here are usually\n{three_digits(explained.normal.usual)} from each other")
    titles = ["normal at this place", "nearest normal", "second nearest", "third nearest"]
    for axis, title, near in zip(axes[1:], titles, [explained.normal.here, *explained.normal.anywhere], strict=False):
        axis.set_title(title)
        _patch(axis, near.image, near.cells, explained.grid, "white")
        left, top, width, height = near.box
        at = f"at {left + width / 2:.0f}, {top + height / 2:.0f} px; distance {three_digits(near.distance)}"
        _below(axis, f"{_short(near.name, 26)}\n{at}")


def _patch(axis: Any, image: NDArray[np.uint8], cells: Cells, grid: tuple[int, int], colour: str) -> None:
    """A square of the image around its cells, which are framed."""
    height, width = image.shape[:2]
    top, left, bottom, right = edges(cells, (height, width), grid)
    side = min(max(_CONTEXT * min(height, width), 8.0), float(min(height, width)))
    x = min(max((left + right - side) / 2, 0), width - side)
    y = min(max((top + bottom - side) / 2, 0), height - side)
    axis.imshow(image, extent=(0, width, height, 0), interpolation="bilinear")
    for line, width_of_line in (("black", 2.6), (colour, 1.3)):
        _rectangle(axis, left, top, right - left, bottom - top, color=line, lw=width_of_line)
    axis.set(xlim=(x, x + side), ylim=(y + side, y))


def _bars(axes: Any, explained: Explanation, rows: int) -> None:
    """What adds to the score, once by scale and once by noise level, whichever has several."""
    reach = [value for group in explained.shares.values() for value in group.values()]
    for axis in axes[len(explained.shares) :]:
        axis.set_axis_off()
    for axis, (title, group) in zip(axes, explained.shares.items(), strict=False):
        bars = axis.barh(list(group), list(group.values()), color=_BARS, height=0.62)
        shares = [f" ({value / explained.score:.0%})" if explained.score > 0 else "" for value in group.values()]
        labels = [f"{three_digits(value)}{share}" for value, share in zip(group.values(), shares, strict=True)]
        axis.bar_label(bars, labels, padding=4, size=8)
        axis.axvline(0, color=_GREY, lw=0.8)
        axis.tick_params(length=0, labelbottom=False, labelsize=9)
        axis.set(xlim=(min(0.0, *reach), 1.3 * max(1e-12, *reach)), ylim=(rows - 0.5, -0.5))  # with room for the labels
        cells = f", cells of {explained.cell[1]:.0f} x {explained.cell[0]:.0f} px" if title == "scale" else ""
        axis.set_title(f"the score of {three_digits(explained.score)} by {title}{cells}")


def _rectangle(axis: Any, left: float, top: float, width: float, height: float, **style: Any) -> None:
    from matplotlib.patches import Rectangle

    axis.add_patch(Rectangle((left, top), width, height, fill=False, **style))


def _below(axis: Any, text: str) -> None:
    """Small grey lines below a picture."""
    axis.set_xlabel(text, loc="left", size=7, parse_math=False)


def _short(name: str, most: int) -> str:
    return name if len(name) <= most else f"… {name[2 - most :]}"
