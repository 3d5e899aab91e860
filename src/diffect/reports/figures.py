"""The pictures of a study: its noise schedules, and the comparison of its groups."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from diffect.reports.cells import METRIC, short
from diffect.reports.differences import COMPARED
from diffect.reports.sheets import REFERENCE
from diffect.reports.study import Study
from diffect.reports.style import COLOURS, LINES, MARKERS, new, save, style
from diffect.runs import grid
from diffect.runs.table import Run

_BAR = 0.8  # of the room between two groups


def schedule_figure(schedules: Sequence[dict[str, Any]], path: Path) -> tuple[Path, Path]:
    """Draw log-SNR over t, density over log-SNR and effective weight p w over log-SNR, a line per schedule.

    A schedule is {"name", "t", "log_snr", "density", "weight"}, four lists of one length; null is a gap. The
    weight is scaled to unit area over log-SNR, since a factor is no more than a learning rate. Writes `path`
    with .pdf and .png and returns both; ValueError for lists of different lengths.
    """
    with style():
        names = [_shorten(str(schedule["name"])) for schedule in schedules]
        columns = _legend_columns(names)
        figure = new(9.6, 3.0 + 0.17 * math.ceil(len(names) / columns))
        axes = figure.subplots(1, 3)
        for place, schedule in enumerate(schedules):
            t, log_snr, density, weight = _curves(schedule)
            look: dict[str, Any] = {
                "color": COLOURS[place % len(COLOURS)],
                "linestyle": LINES[(place // len(COLOURS) + place) % len(LINES)],
                "label": names[place],
            }
            axes[0].plot(t, log_snr, **look)
            axes[1].plot(log_snr, density, **look)
            axes[2].plot(log_snr, weight, **look)
        titles = ("log-SNR over time", "training density p", "effective weight p w, unit area")
        units = (("t", "log-SNR"), ("log-SNR", "p(log-SNR)"), ("log-SNR", "p w"))
        for axis, title, (x, y) in zip(axes, titles, units, strict=True):
            axis.set(title=title, xlabel=x, ylabel=y)
        for axis in axes[1:]:
            axis.set_ylim(bottom=0)
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
        return save(figure, path)


def _curves(schedule: dict[str, Any]) -> list[np.ndarray[Any, np.dtype[np.float64]]]:
    """t, log_snr, density and weight as arrays; the weight is scaled to unit area over log-SNR."""
    keys = ("t", "log_snr", "density", "weight")
    curves = [np.asarray(schedule.get(key) or (), dtype=np.float64) for key in keys]
    if len({curve.shape for curve in curves}) != 1 or curves[0].size < 2:
        sizes = ", ".join(f"{key} {curve.size}" for key, curve in zip(keys, curves, strict=True))
        raise ValueError(f"the schedule '{schedule.get('name')}' should have four lists of one length, found {sizes}")
    good = np.isfinite(curves[1]) & np.isfinite(curves[3])
    area = abs(float(np.trapezoid(curves[3][good], curves[1][good]))) if good.sum() > 1 else 0.0
    if area > 0:
        curves[3] = curves[3] / area
    return curves


def schedules_of(study: Study) -> list[dict[str, Any]]:
    """The distinct schedules in the study's records, each named so that no two share a name."""
    found: dict[str, tuple[dict[str, Any], list[tuple[str, ...]]]] = {}
    for run in study.runs:
        schedule = run.record.get("schedule")
        if schedule:
            content = repr(sorted(schedule.items()))
            values = tuple(run.choice(axis) for axis in study.axes)
            found.setdefault(content, (schedule, []))[1].append(values)
    named = []
    for schedule, seen in found.values():
        name = str(schedule.get("name", "unnamed"))
        twins = [other for other, _ in found.values() if str(other.get("name", "unnamed")) == name]
        if len(twins) > 1:
            # The axes that are the same in all runs of this one are what tells it from its namesakes.
            constant = [set(column) for column in zip(*seen, strict=True)]
            extra = [next(iter(c)) for c in constant if len(c) == 1 and next(iter(c)) != name]
            name = ", ".join([name, *extra])
        named.append({**schedule, "name": name})
    named.sort(key=lambda schedule: grid.natural([schedule["name"]]))
    for place, schedule in enumerate(named):
        same = [other["name"] for other in named[:place]].count(schedule["name"])
        schedule["label"] = schedule["name"] + (f" #{same + 1}" if same else "")
    return [{**schedule, "name": schedule["label"]} for schedule in named]


def comparison_figure(study: Study, path: Path) -> tuple[Path, Path]:
    """Draw mean and 95% interval per group for two image metrics and one pixel metric, a panel each.

    Groups stand in blocks by the first axis, within a block by colour and marker of the others; small
    dots are the seeds' own means, a hollow marker is a mean that lacks a category, and the dotted line
    what the field quotes.
    """
    firsts = list(dict.fromkeys(group.values[0] if group.values else study.name for group in study.groups))
    others = list(dict.fromkeys(group.values[1:] for group in study.groups))
    with style():
        height = 1.3 + max(0.34 * len(firsts), 0.17 * len(study.groups) + 0.1 * len(firsts))
        figure = new(9.6, min(60.0, height + (0.2 + 0.1 * len(others) ** 0.5 if len(others) > 1 else 0)))
        panels = figure.subplots(1, len(COMPARED), sharey=True)
        for axis, metric in zip(panels, COMPARED, strict=True):
            _panel(axis, study, metric, firsts, others)
        panels[0].set_yticks(range(len(firsts)), [_shorten(first, 40) for first in firsts])
        panels[0].set_ylim(len(firsts) - 0.5, -0.5)
        if study.axes:
            panels[0].set_ylabel(short(study.axes)[0])
        panels[1].set_xlabel("mean, 95% interval; dots: seeds; dotted line: reference", color="#555555")
        if len(others) > 1:
            handles, labels = panels[0].get_legend_handles_labels()
            unique = dict(zip(labels, handles, strict=True))
            names = [_shorten(label) for label in unique]
            look: dict[str, Any] = {
                "ncols": _legend_columns(names),
                "title": ", ".join(short(study.axes)[1:]),
            }
            figure.legend(unique.values(), names, loc="outside lower center", **look)
        return save(figure, path)


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
        half = estimate.half or 0.0
        lo, hi = max(0.0, estimate.value - half), min(1.0, estimate.value + half)
        axis.plot([lo, hi], [y, y], color=colour, solid_capstyle="butt")
        face = colour if estimate.comparable else "white"
        look: dict[str, Any] = {"color": colour, "markerfacecolor": face, "markersize": 5, "linestyle": ""}
        axis.plot(estimate.value, y, marker=marker, label=", ".join(group.values[1:]), **look)
        seeds = seed_means(group.runs, metric, estimate.seeds)
        if len(seeds) > 1:
            below = [y + step / 4] * len(seeds)
            axis.plot(seeds, below, ".", color=colour, alpha=0.6, markersize=4, markeredgewidth=0)
        drawn += [lo, hi, *seeds]
    if not drawn:
        axis.text(0.5, 0.5, "no values", transform=axis.transAxes, ha="center", va="center", color="#555555")
    elif metric in REFERENCE:
        axis.axvline(REFERENCE[metric], color="#555555", linewidth=0.9, linestyle=":")
        drawn.append(REFERENCE[metric])
    if drawn:
        pad = 0.04 * (max(drawn) - min(drawn)) + 0.004
        axis.set_xlim(max(-0.01, min(drawn) - pad), min(1.01, max(drawn) + pad))
    axis.set_title(METRIC[metric].title)
    axis.grid(False, axis="y")


def seed_means(runs: Sequence[Run], metric: str, seeds: Sequence[int]) -> list[float]:
    """The mean over categories for each of the `seeds` in turn, without those that have no value."""
    values, _ = grid.cells(runs, metric)
    columns = ([v for (_, other), v in values.items() if other == seed and v is not None] for seed in seeds)
    return [float(np.mean(column)) for column in columns if column]


def _legend_columns(names: Sequence[str]) -> int:
    """As many columns as fit under a figure of the full width."""
    return max(1, min(len(names), 120 // (max(map(len, names), default=1) + 7)))


def _shorten(text: str, limit: int = 56) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
