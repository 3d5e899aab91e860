"""The critical-difference diagram: average ranks, and which groups do not differ by them."""

import math
from pathlib import Path

from matplotlib.axes import Axes

from diffect.reports.cells import METRIC
from diffect.reports.study import RANKED, Study
from diffect.reports.style import GREY, WIDTH, new, save, shorten, style
from diffect.runs.ranks import Ranking
from diffect.runs.statistics import BLOCKS

_NONE = "no critical-difference diagram"
_MOST = 60  # groups that a page has room for
_ROW, _CLIQUE, _TOP = 0.19, 0.09, 0.66  # inches: of a name, of a bar of equals, of what stands above the axis


def ranks_figure(study: Study, path: Path) -> str | None:
    """Draw the study's ranking as Demšar (2006, figure 1) does, the best on the left; or why there is nothing.

    A bar joins groups whose average ranks differ by less than the critical difference.
    """
    found = study.ranking
    if found.reason is not None or found.critical_difference is None:
        return f"{_NONE}: {found.reason}"
    if len(found.groups) > _MOST:
        return f"{_NONE}: {len(found.groups)} groups are more than the {_MOST} that a page has room for"
    with style():
        side = math.ceil(len(found.groups) / 2)
        below = 0.12 + _CLIQUE * len(found.cliques)
        height = _TOP + below + _ROW * (side + 0.7)
        figure = new(WIDTH, height, layout=None)
        axis = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axis.set(xlim=(0, WIDTH), ylim=(height, 0))  # inches from the upper left corner
        axis.axis("off")
        _draw(axis, found, below, BLOCKS[study.estimand])
        save(figure, path)
    return None


def _draw(axis: Axes, found: Ranking, below: float, unit: str) -> None:
    groups, margin = len(found.groups), 1.9
    scale = (WIDTH - 2 * margin) / (groups - 1)

    def x(rank: float) -> float:
        return margin + (rank - 1) * scale

    axis.plot([x(1), x(groups)], [_TOP, _TOP], color="black", linewidth=1)
    step = max(1, math.ceil(groups / 15))
    for tick in range(1, groups + 1, step):
        axis.plot([x(tick)] * 2, [_TOP, _TOP - 0.06], color="black", linewidth=0.8)
        axis.text(x(tick), _TOP - 0.08, str(tick), ha="center", va="bottom")
    critical = found.critical_difference or 0.0
    axis.plot([x(1), x(1 + critical)], [0.32, 0.32], "|-", color="black", linewidth=1)
    axis.text(x(1 + critical) + 0.06, 0.32, f"critical difference {critical:.2f}", ha="left", va="center")
    what = f"average rank by {METRIC[RANKED].title} over {found.blocks} {unit}"
    axis.text(WIDTH / 2, 0.12, what, ha="center", va="center", color=GREY)
    for row, members in enumerate(found.cliques):
        ends = [x(found.ranks[members[0]]) - 0.04, x(found.ranks[members[-1]]) + 0.04]
        y = _TOP + 0.12 + _CLIQUE * row
        axis.plot(ends, [y, y], color="#0072B2", linewidth=2.5, solid_capstyle="butt")
    side = math.ceil(groups / 2)
    for place, (name, rank) in enumerate(zip(found.groups, found.ranks, strict=True)):
        left = place < side
        row = place if left else groups - 1 - place
        y = _TOP + below + _ROW * (row + 0.5)
        edge = margin - 0.12 if left else WIDTH - margin + 0.12
        axis.plot([x(rank), x(rank), edge], [_TOP, y, y], color="black", linewidth=0.7)
        label = f"{shorten(name, 26)}  {rank:.2f}" if left else f"{rank:.2f}  {shorten(name, 26)}"
        axis.text(edge + (-0.05 if left else 0.05), y, label, ha="right" if left else "left", va="center")
