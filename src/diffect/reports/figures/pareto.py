"""Quality against latency, and which groups nothing else beats in both."""

import math
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from diffect.reports.cells import METRIC
from diffect.reports.charts.tradeoff import LATENCY, LEFT_OUT, QUALITY, Point, front, left_out, tradeoff, unlike
from diffect.reports.study import Study
from diffect.reports.style import COLOURS, NAMED, WIDTH, legend_columns, marker, new, reach, save, shorten, style
from diffect.runs.grid import short

_NONE = "no figure of quality against latency"


def pareto_figure(study: Study, path: Path) -> str | None:
    """Draw each group's metrics over its latency with both 95% intervals; or the reason why there is nothing.

    The line is the Pareto front of the means: no other group is as fast and at least as good.
    """
    if (reason := unlike(study)) is not None:
        return f"{_NONE}: {reason}"
    points = {metric: tradeoff(study, metric).points for metric in QUALITY}
    shown = sorted({place for found in points.values() for place in found})
    if len(shown) < 2:
        return f"{_NONE}: fewer than two groups have both over all categories"
    with style():
        named = shown if len(shown) <= NAMED else sorted({p for found in points.values() for p in front(found)})[:NAMED]
        names = {place: shorten(study.label(study.groups[place])) for place in named}
        columns = legend_columns(list(names.values()))
        lacking = left_out(study)
        figure = new(WIDTH, 2.4 + 0.16 * math.ceil(len(names) / columns) + (0.15 if lacking else 0))
        for axis, metric in zip(figure.subplots(1, len(QUALITY)), QUALITY, strict=True):
            _panel(axis, study, metric, points[metric], names)
        entries: dict[str, Any] = {}
        for axis in figure.axes:
            handles, labels = axis.get_legend_handles_labels()
            entries |= dict(zip(labels, handles, strict=True))
        more = len(shown) - len(named)
        title = ", ".join(short(study.axes)) + (f" (grey: {more} more)" if more else "")
        if lacking:
            title += f"\n{LEFT_OUT}: {shorten(', '.join(lacking), 90)}"
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, title=title)
        save(figure, path)
    return None


def _panel(axis: Axes, study: Study, metric: str, points: dict[int, Point], names: dict[int, str]) -> None:
    best = [points[place] for place in front(points)]
    axis.step([x for x, _ in best], [y for _, y in best], where="post", color="#999999", linewidth=1, zorder=1)
    for place, (x, y) in points.items():
        look: dict[str, Any] = {"marker": marker(place), "markersize": 5, "linestyle": "", "elinewidth": 0.8}
        look |= {"color": "#cccccc", "zorder": 2}
        if place in names:
            look |= {"color": COLOURS[place % len(COLOURS)], "zorder": 3, "label": names[place]}
        time, quality = study.estimates[LATENCY][place].half, study.estimates[metric][place].half
        axis.errorbar(x, y, xerr=time or 0.0, yerr=np.transpose([reach(y, quality)]), **look)
    times = [x for x, _ in points.values()]
    if times and min(times) > 0 and max(times) > 3 * min(times):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.xaxis.set_minor_formatter(NullFormatter())
    axis.set(title=METRIC[metric].title, xlabel="latency of one image, ms")
