"""Quality along an axis of numbers: a line for each combination of the other axes, and below in each category."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from diffect.reports.cells import METRIC
from diffect.reports.charts.curves import Curves, curves, estimates, reason
from diffect.reports.study import Study
from diffect.reports.style import GREY, WIDTH, legend_columns, look, marker, new, reach, save, shorten, style, widen
from diffect.runs.grid import short
from diffect.runs.statistics import Estimate

_NAMED = 8  # lines with intervals that a reader can tell from each other; more are grey
_PAD = 0.07  # beside the first and the last tick, where the numbers span 1
_FAINT: dict[str, Any] = {"color": "#cccccc", "linewidth": 0.8, "zorder": 1}


def curves_figure(study: Study, path: Path) -> str | None:
    """Draw image AUROC and AUPRO 30% along the study's axis of numbers, with the table's means and 95% intervals.

    A line breaks where a group is absent, and is dotted on the way to all, which has no place on the scale.
    Returns the reason why there is nothing; an empty one where no axis holds numbers.
    """
    found = curves(study)
    if found is None:
        return reason(study)
    with style():
        entries = _entries(study, found)
        columns = legend_columns([*entries])
        rows = 2 if found.categories else 1
        figure = new(WIDTH, 2.1 * rows + 0.5 + 0.16 * math.ceil(len(entries) / columns))
        panels = figure.subplots(rows, len(found.metrics), squeeze=False, sharex=True)
        for column, metric in enumerate(found.metrics):
            _means(panels[0, column], study, found, metric)
            panels[0, column].set_title(METRIC[metric].title)
            if found.categories:
                _by_category(panels[1, column], study, found, metric)
                panels[1, column].set_title(f"{METRIC[metric].title}, each category")
            _scale(panels[-1, column], study, found)
            for panel in panels[:, column] if found.apart else ():
                _break(panel, (found.ticks[-2].place + found.ticks[-1].place) / 2)
        _legend(figure, study, found, entries, columns)
        save(figure, path)
    return None


def _means(axis: Axes, study: Study, found: Curves, metric: str) -> None:
    """The means over categories and seeds with their intervals; hollow where one lacks a category."""
    named = min(len(found.lines), _NAMED)
    for place, line in reversed(list(enumerate(found.lines))):  # the first on top
        row = estimates(study, line, metric)
        if place >= named:
            _join(axis, found, _heights(row), 0.0, **_FAINT)
            continue
        nudge = (place - (named - 1) / 2) / 100  # side by side, not on top
        _join(axis, found, _heights(row), nudge, **look(place))
        for tick, estimate in zip(found.ticks, row, strict=True):
            if estimate is None or estimate.value is None:
                continue
            bar: dict[str, Any] = {"marker": marker(place), "markersize": 3.5, "capsize": 1.5, "elinewidth": 0.8}
            bar |= {"color": look(place)["color"], **({} if estimate.comparable else {"markerfacecolor": "white"})}
            halves = np.transpose([reach(estimate.value, estimate.half)])
            axis.errorbar(tick.place + nudge, estimate.value, None if estimate.half is None else halves, **bar)
    widen(axis)


def _by_category(axis: Axes, study: Study, found: Curves, metric: str) -> None:
    for place, line in reversed(list(enumerate(found.lines))):
        for number, category in enumerate(found.categories):
            heights = _heights(estimates(study, line, metric, category))
            if place >= _NAMED:
                _join(axis, found, heights, 0.0, **_FAINT)
                continue
            _join(axis, found, heights, 0.0, **_thin(found, place, number))
    widen(axis)


def _thin(found: Curves, place: int, number: int) -> dict[str, Any]:
    """A category's line: its marker, and the colour of the line above; its own colour where there is one above."""
    shade = look(place) if len(found.lines) > 1 else look(number + 1)
    return {**shade, "linewidth": 0.7, "marker": marker(number), "markersize": 2.5}


def _join(axis: Axes, found: Curves, heights: Sequence[float], nudge: float, **drawn: Any) -> None:
    """The line through the numbers, and a dotted one on to all."""
    places = [tick.place + nudge for tick in found.ticks]
    end = -1 if found.apart else None
    axis.plot(places[:end], heights[:end], **drawn)
    if found.apart:
        axis.plot(places[-2:], heights[-2:], **{**drawn, "linestyle": (0, (1, 4)), "linewidth": 0.8})


def _heights(row: Sequence[Estimate | None]) -> list[float]:
    """The means; NaN, which parts a line, where there is none."""
    return [math.nan if one is None or one.value is None else one.value for one in row]


def _scale(axis: Axes, study: Study, found: Curves) -> None:
    named = found.named()
    axis.set_xticks([found.ticks[place].place for place in sorted(named)])
    axis.set_xticklabels([shorten(found.ticks[place].text, 12) for place in sorted(named)])
    axis.set_xticks([tick.place for place, tick in enumerate(found.ticks) if place not in named], minor=True)
    axis.set_xlim(-_PAD, found.ticks[-1].place + _PAD)
    axis.set_xlabel(shorten(short(study.axes)[found.axis]) + (" (log scale)" if found.log else ""))


def _break(axis: Axes, place: float) -> None:
    """Two strokes through the axis, where its scale ends and all stands apart."""
    strokes: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7, "zorder": 5, "in_layout": False}
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6}
    axis.text(place, 0.0, "//", transform=axis.get_xaxis_transform(), bbox=box, **strokes)


def _entries(study: Study, found: Curves) -> dict[str, Line2D]:
    """By name, how the lines are drawn, then the categories; a single line needs no name."""
    entries: dict[str, Line2D] = {}
    if len(found.lines) > 1:
        for place, line in enumerate(found.lines[:_NAMED]):
            entries[shorten(line.name)] = Line2D([], [], marker=marker(place), markersize=3.5, **look(place))
    for number, category in enumerate(found.categories):
        drawn = _thin(found, 0, number)
        if len(found.lines) > 1:
            drawn |= {"color": GREY, "linestyle": ""}
        entries[shorten(f"category {category}")] = Line2D([], [], **drawn)
    return entries


def _legend(figure: Figure, study: Study, found: Curves, entries: dict[str, Line2D], columns: int) -> None:
    if not entries:
        return
    names = short(study.axes)
    title = ", ".join(names[: found.axis] + names[found.axis + 1 :])
    more = len(found.lines) - _NAMED
    title += f" (grey: {more} more)" if more > 0 else ""
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, title=title or None)
