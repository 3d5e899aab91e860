"""What each scoring level alone would give: metric against log-SNR, a line per group."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from diffect.reports.cells import METRIC
from diffect.reports.charts.levels import LEFT_OUT, METRICS, Curve, curve, left_out, partial
from diffect.reports.study import Study
from diffect.reports.style import GREY, WIDTH, legend_columns, look, marker, new, reach, save, shorten, style, widen
from diffect.runs.grid import Group, short

_NAMED = 8  # lines with intervals that a reader can tell from each other; more groups are grey


def levels_figure(study: Study, path: Path) -> str | None:
    """Draw each group's mean at each level, with its 95% interval over several seeds; or the reason why not.

    A mean is over categories and seeds, at the levels that all of the group's runs were judged at. Groups without
    figures by level are named below.
    """
    curves = {metric: [curve(group, metric) for group in study.groups] for metric in METRICS}
    drawn = [place for place in range(len(study.groups)) if any(curves[metric][place] for metric in METRICS)]
    if not drawn:
        return "no figure of the scoring levels: no record says what each alone would give"
    with style():
        names = [_name(study, study.groups[place]) for place in drawn[:_NAMED]]
        columns = legend_columns(names)
        lacking = left_out(study)
        figure = new(WIDTH, 2.4 + 0.16 * math.ceil(len(names) / columns) + (0.3 if lacking else 0))
        for axis, metric in zip(figure.subplots(1, len(METRICS)), METRICS, strict=True):
            _panel(axis, [curves[metric][place] for place in drawn], names)
            axis.set(title=METRIC[metric].title, xlabel="log-SNR of the scoring level")
        handles, labels = figure.axes[0].get_legend_handles_labels()
        more = len(drawn) - len(names)
        title = ", ".join(short(study.axes)) + (f" (grey: {more} more)" if more else "")
        if lacking:
            title += f"\n{LEFT_OUT}:\n{shorten(', '.join(lacking), 110)}"
        named: dict[str, Any] = {"loc": "outside lower center", "ncols": columns, "title": title or None}
        figure.legend(handles[::-1], labels[::-1], **named)
        save(figure, path)
    return None


def _name(study: Study, group: Group) -> str:
    """The group's label, with how many categories its line is over where these are not all."""
    name, over = shorten(study.label(group)), partial(study, group)
    return f"{name} ({over})" if over else name


def with_intervals(study: Study) -> bool:
    """Whether any mean has an interval: over seeds, where there are several; that over test images is not known."""
    curves = (curve(group, metric) for group in study.groups for metric in METRICS)
    return any(estimate.half is not None for line in curves for _, estimate in line)


def _panel(axis: Axes, curves: Sequence[Curve], names: Sequence[str]) -> None:
    every = [level for line in curves for level, _ in line]
    nudge = (max(every, default=0.0) - min(every, default=0.0) or 1.0) / 120
    for place, line in reversed(list(enumerate(curves))):  # the first on top
        levels = [level for level, _ in line]
        means = [estimate.value or 0.0 for _, estimate in line]
        if place >= len(names):
            axis.plot(levels, means, color="#cccccc", linewidth=0.8, zorder=1)
            continue
        moved = [level + nudge * (place - (len(names) - 1) / 2) for level in levels]  # side by side, not on top
        halves = np.transpose([reach(estimate.value or 0.0, estimate.half) for _, estimate in line])
        bars: dict[str, Any] = {"capsize": 1.5, "elinewidth": 0.8, "markersize": 3.5}
        axis.errorbar(moved, means, halves, marker=marker(place), label=names[place], **bars, **look(place))
    widen(axis)
    if not every:
        axis.text(0.5, 0.5, "no values", transform=axis.transAxes, ha="center", va="center", color=GREY)
