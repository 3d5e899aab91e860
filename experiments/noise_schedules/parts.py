"""Which part of a noise schedule makes a difference? From the runs of the study, part by part.

    python experiments/noise_schedules/parts.py [source=outputs] [out=FOLDER]

Writes parts.csv, and parts.md, beside this file. Each row takes the same seven schedules and lets one thing differ:

- objective: fixed loss weight, matched end points. Schedules sample differently, so objectives differ.
- variance: fixed p w (`weight=matched`). All optimise one objective; only the variance of its gradient differs.
- end points: fixed loss weight, each schedule with its own.
- scoring at one t: the runs of the row before, each judged at its own log-SNR of that time step, as papers do that keep
  "t = 300 of 1000" when they change the schedule. Between the recorded levels figures are interpolated.

Means are over the categories that all arms were run on. Spread is the standard deviation of schedules beyond what seeds
explain, sqrt((MS_schedule - MS_rest) / seeds) of a two-way table schedule x seed of those means; p is of its F test. A
p that is not small shows nothing.
"""

import csv
import io
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import f as f_distribution

from diffect.runs import sources
from diffect.runs.table import Run
from diffect.storage.atomic import write_atomic

METRICS = ("image_auroc", "pixel_aupro_30")
TIMES = (0.3, 0.4)  # where every schedule, with its own end points, lies within the recorded levels
ARMS = {
    "objective": {"weight": "v", "schedule.endpoints": "default"},
    "variance": {"weight": "matched", "schedule.endpoints": "default"},
    "end points": {"weight": "v", "schedule.endpoints": "native"},
}
Figure = Callable[[Run, str, str], float]  # of a run, a category and a metric


def fused(run: Run, category: str, metric: str) -> float:
    """The figure of the map over all levels."""
    return float(run.record.results[category].metrics[metric])


def at_level(log_snr: float) -> Figure:
    """The figure of one recorded level, or between two of them."""
    return lambda run, category, metric: _interpolated(run, category, metric, log_snr)


def at_time(t: float) -> Figure:
    """The figure at the log-SNR that the run's own schedule has at time t."""

    def figure(run: Run, category: str, metric: str) -> float:
        curve = run.record.schedule
        return _interpolated(run, category, metric, float(np.interp(t, curve.t, curve.log_snr)))

    return figure


def _interpolated(run: Run, category: str, metric: str, log_snr: float) -> float:
    levels = run.record.results[category].levels
    known = [row.log_snr for row in levels]
    if not known[0] <= log_snr <= known[-1]:
        raise ValueError(f"log-SNR {log_snr:.2f} lies outside the recorded levels, {known[0]:g} to {known[-1]:g}")
    return float(np.interp(log_snr, known, [row.metrics[metric] for row in levels]))


def table(runs: Iterable[Run], categories: set[str], figure: Figure, metric: str) -> tuple[list[str], Any]:
    """The schedules, and the means over these categories (schedules, seeds)."""
    cells: dict[tuple[str, int], list[float]] = {}
    for run in runs:
        for category in categories & set(run.record.categories):
            cell = cells.setdefault((run.choice("schedule"), run.record.seed), [])
            cell.append(figure(run, category, metric))
    schedules, seeds = sorted({name for name, _ in cells}), sorted({seed for _, seed in cells})
    if len({len(found) for found in cells.values()}) != 1 or len(cells) != len(schedules) * len(seeds):
        raise ValueError("the grid has holes: finish its runs first (diffect train says what is missing)")
    return schedules, np.array([[np.mean(cells[name, seed]) for seed in seeds] for name in schedules])


def spread(figures: Any) -> tuple[float, float]:
    """Standard deviation of the schedules beyond the seeds', and the p of the F test; figures (schedules, seeds)."""
    rows, columns = figures.shape
    effect = figures - figures.mean(0)  # seeds' own means out: the same images for all schedules
    between = columns * effect.mean(1).var(ddof=1)
    rest = ((effect - effect.mean(1, keepdims=True)) ** 2).sum() / ((rows - 1) * (columns - 1))
    p = f_distribution.sf(between / rest, rows - 1, (rows - 1) * (columns - 1))
    return float(max(between - rest, 0) / columns) ** 0.5, float(p)


def lines(runs: Iterable[Run]) -> list[dict[str, Any]]:
    """One line for each part and metric."""
    held = list(runs)

    def arm(name: str) -> list[Run]:
        wanted = ARMS[name].items()
        return [run for run in held if all(run.choice(key) == value for key, value in wanted)]

    shared = set.intersection(*({name for run in arm(part) for name in run.record.categories} for part in ARMS))
    parts: list[tuple[str, list[Run], Figure]] = [(name, arm(name), fused) for name in ARMS]
    parts += [(f"log-SNR {level:g} alone", arm("end points"), at_level(level)) for level in (0.0, 2.0)]
    parts += [(f"t = {t:g} alone", arm("end points"), at_time(t)) for t in TIMES]
    found = []
    for part, mine, figure in parts:
        for metric in METRICS:
            schedules, figures = table(mine, shared, figure, metric)
            means = figures.mean(1)
            deviation, p = spread(figures)
            low, high = int(means.argmin()), int(means.argmax())
            found.append(
                {
                    "part": part,
                    "metric": metric,
                    "mean": float(means.mean()),
                    "spread": deviation,
                    "p": p,
                    "lowest": f"{schedules[low]} {means[low]:.3f}",
                    "highest": f"{schedules[high]} {means[high]:.3f}",
                    "categories": " ".join(sorted(shared)),
                }
            )
    return found


def main(arguments: list[str]) -> None:
    """Write the two tables."""
    given = dict(argument.split("=", 1) for argument in arguments)
    out = Path(given.get("out", Path(__file__).parent))
    found = lines(sources.read(given.get("source", "outputs"), "noise_schedules").runs)
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(found[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    write_atomic(out / "parts.csv", buffer.getvalue())
    text = [
        "| what differs | metric | mean | spread | p | lowest | highest |",
        "| --- | --- | ---: | ---: | ---: | --- | --- |",
    ]
    text += [
        f"| {row['part']} | {row['metric']} | {row['mean']:.3f} | {row['spread']:.3f} | {row['p']:.3g} |"
        f" {row['lowest']} | {row['highest']} |"
        for row in found
    ]
    write_atomic(out / "parts.md", "\n".join(text) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main(sys.argv[1:])
