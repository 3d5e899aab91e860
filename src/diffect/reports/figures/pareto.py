"""Quality against latency, and which groups nothing else beats in both."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from diffect.reports.cells import METRIC, short
from diffect.reports.study import Study
from diffect.reports.style import COLOURS, NAMED, WIDTH, legend_columns, marker, new, reach, save, shorten, style

QUALITY = ("image_auroc", "pixel_aupro_30")

_NONE = "no figure of quality against latency"
LEFT_OUT = "left out where a category lacks"

Point = tuple[float, float]  # milliseconds, quality


def pareto_figure(study: Study, path: Path) -> str | None:
    """Draw each group's metrics over its latency with both 95% intervals; or the reason why there is nothing.

    The line is the Pareto front of the means: no other group is as fast and at least as good.
    """
    devices = {str(run.record.get("device")) for run in study.runs}
    if len(devices) > 1:
        return f"{_NONE}: latency was measured on {len(devices)} different devices"
    points = {metric: _points(study, metric) for metric in QUALITY}
    shown = sorted({place for found in points.values() for place in found})
    if len(shown) < 2:
        return f"{_NONE}: fewer than two groups have both over all categories"
    with style():
        named = shown if len(shown) <= NAMED else sorted({p for found in points.values() for p in front(found)})[:NAMED]
        names = {place: shorten(study.label(study.groups[place])) for place in named}
        columns = legend_columns(list(names.values()))
        figure = new(WIDTH, 2.4 + 0.16 * math.ceil(len(names) / columns))
        for axis, metric in zip(figure.subplots(1, len(QUALITY)), QUALITY, strict=True):
            _panel(axis, study, metric, points[metric], names)
        entries: dict[str, Any] = {}
        for axis in figure.axes:
            handles, labels = axis.get_legend_handles_labels()
            entries |= dict(zip(labels, handles, strict=True))
        more = len(shown) - len(named)
        title = ", ".join(short(study.axes)) + (f" (grey: {more} more)" if more else "")
        if lacking := left_out(study):
            title += f"\n{LEFT_OUT}: {shorten(', '.join(lacking), 90)}"
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, title=title)
        save(figure, path)
    return None


def front(points: dict[int, Point]) -> list[int]:
    """The places of the Pareto front, by rising latency: each is better than all that are as fast."""
    kept: list[int] = []
    for place in sorted(points, key=lambda place: (points[place][0], -points[place][1], place)):
        if not kept or points[place][1] > points[kept[-1]][1]:
            kept.append(place)
    return kept


def left_out(study: Study) -> list[str]:
    """The groups that are missing in a panel that others are in."""
    panels = [found for metric in QUALITY if (found := _points(study, metric))]
    return [
        study.label(group) for place, group in enumerate(study.groups) if any(place not in found for found in panels)
    ]


def _points(study: Study, metric: str) -> dict[int, Point]:
    """By place, the groups that have every category in both."""
    pairs = zip(study.estimates["latency_ms"], study.estimates[metric], strict=True)
    return {
        place: (time.value, quality.value)
        for place, (time, quality) in enumerate(pairs)
        if time.comparable and quality.comparable and time.value is not None and quality.value is not None
    }


def _panel(axis: Axes, study: Study, metric: str, points: dict[int, Point], names: dict[int, str]) -> None:
    best = [points[place] for place in front(points)]
    axis.step([x for x, _ in best], [y for _, y in best], where="post", color="#999999", linewidth=1, zorder=1)
    for place, (x, y) in points.items():
        look: dict[str, Any] = {"marker": marker(place), "markersize": 5, "linestyle": "", "elinewidth": 0.8}
        look |= {"color": "#cccccc", "zorder": 2}
        if place in names:
            look |= {"color": COLOURS[place % len(COLOURS)], "zorder": 3, "label": names[place]}
        time, quality = study.estimates["latency_ms"][place].half, study.estimates[metric][place].half
        axis.errorbar(x, y, xerr=time or 0.0, yerr=np.transpose([reach(y, quality)]), **look)
    times = [x for x, _ in points.values()]
    if times and min(times) > 0 and max(times) > 3 * min(times):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set(title=METRIC[metric].title, xlabel="latency of one image, ms")
