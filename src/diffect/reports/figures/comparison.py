"""The comparison of a study's groups: means with intervals, and the seeds behind them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from diffect.reports.cells import METRIC
from diffect.reports.comparison import COMPARED
from diffect.reports.study import REFERENCE, Study
from diffect.reports.style import COLOURS, GREY, MARKERS, WIDTH, legend_columns, new, reach, save, shorten, style
from diffect.runs import grid
from diffect.runs.grid import short
from diffect.runs.table import Run

_BAR = 0.8  # of the room between two groups
_AIRY = 16  # groups up to which there is room to spare on a page


def comparison_figure(study: Study, path: Path) -> str | None:
    """Draw mean and 95% interval per group for two image metrics and one pixel metric, a panel each.

    Groups stand in blocks by the first axis, within a block by colour and marker of the others; small
    dots are the seeds' own means, a hollow marker is a mean that lacks a category, and the dotted line
    what the field quotes. Returns the reason why there is nothing, where no group has any of these metrics.
    """
    if all(estimate.value is None for metric in COMPARED for estimate in study.estimates[metric]):
        return "no figure that compares the groups: no run has any of its metrics"
    firsts = list(dict.fromkeys(group.values[0] if group.values else study.name for group in study.groups))
    others = list(dict.fromkeys(group.values[1:] for group in study.groups))
    with style():
        room = 0.34 if len(firsts) <= _AIRY else 0.2
        height = 1.3 + max(room * len(firsts), 0.17 * len(study.groups) + 0.1 * len(firsts))
        figure = new(WIDTH, min(60.0, height + (0.2 + 0.1 * len(others) ** 0.5 if len(others) > 1 else 0)))
        panels = figure.subplots(1, len(COMPARED), sharey=True)
        for axis, metric in zip(panels, COMPARED, strict=True):
            _panel(axis, study, metric, firsts, others)
        panels[0].set_yticks(range(len(firsts)), [shorten(first, 28) for first in firsts])
        panels[0].set_ylim(len(firsts) - 0.5, -0.5)
        if study.axes:
            panels[0].set_ylabel(short(study.axes)[0])
        dots = "dots: seeds; " if seeds_drawn(study) else ""
        panels[1].set_xlabel(f"mean, 95% interval; {dots}dotted line: reference", color=GREY)
        if len(others) > 1:
            handles, labels = panels[0].get_legend_handles_labels()
            unique = dict(zip(labels, handles, strict=True))
            names = [shorten(label) for label in unique]
            look: dict[str, Any] = {
                "ncols": legend_columns(names),
                "title": ", ".join(short(study.axes)[1:]),
            }
            figure.legend(unique.values(), names, loc="outside lower center", **look)
        save(figure, path)
    return None


def _panel(axis: Axes, study: Study, metric: str, firsts: Sequence[str], others: Sequence[tuple[str, ...]]) -> None:
    step = _BAR / len(others)
    drawn: list[float] = []
    for group, estimate in zip(study.groups, study.estimates[metric], strict=True):
        if estimate.value is None:
            continue
        which = others.index(group.values[1:])
        first = firsts.index(group.values[0] if group.values else study.name)
        y = first - _BAR / 2 + (which + 0.5) * step
        colour, marker = COLOURS[which % len(COLOURS)], MARKERS[which % len(MARKERS)]
        below, above = reach(estimate.value, estimate.half)
        lo, hi = estimate.value - below, estimate.value + above
        axis.plot([lo, hi], [y, y], color=colour, solid_capstyle="butt")
        face = colour if estimate.comparable else "white"
        look: dict[str, Any] = {"color": colour, "markerfacecolor": face, "markersize": 5, "linestyle": ""}
        axis.plot(estimate.value, y, marker=marker, label=", ".join(group.values[1:]), **look)
        seeds = seed_means(group.runs, metric, estimate.seeds)
        if len(seeds) > 1:
            axis.plot(seeds, [y + step / 4] * len(seeds), ".", color=colour, alpha=0.6, markersize=4, markeredgewidth=0)
        drawn += [lo, hi, *seeds]
    if not drawn:
        axis.text(0.5, 0.5, "no values", transform=axis.transAxes, ha="center", va="center", color=GREY)
    elif metric in REFERENCE:
        axis.axvline(REFERENCE[metric], color=GREY, linewidth=0.9, linestyle=":")
        drawn.append(REFERENCE[metric])
    if drawn:
        pad = 0.04 * (max(drawn) - min(drawn)) + 0.004
        axis.set_xlim(max(-0.01, min(drawn) - pad), min(1.01, max(drawn) + pad))
    axis.set_title(METRIC[metric].title)
    axis.grid(False, axis="y")


def seeds_drawn(study: Study) -> bool:
    """Whether any group has the means of several seeds to be drawn."""
    return any(
        len(seed_means(group.runs, metric, estimate.seeds)) > 1
        for metric in COMPARED
        for group, estimate in zip(study.groups, study.estimates[metric], strict=True)
    )


def seed_means(runs: Sequence[Run], metric: str, seeds: Sequence[int]) -> list[float]:
    """The mean over categories for each of the `seeds` in turn, without those that have no value."""
    values, _ = grid.cells(runs, metric)
    columns = ([v for (_, other), v in values.items() if other == seed and v is not None] for seed in seeds)
    return [float(np.mean(column)) for column in columns if column]
