"""A study as the data that the page's scripts read: positions instead of names, and no more digits than can be seen."""

import math
from collections.abc import Iterable, Sequence
from typing import Any

from diffect.reports.cells import METRIC, figure_text
from diffect.reports.charts import curves, levels, schedules, tradeoff
from diffect.reports.page.tables import page_tables
from diffect.reports.study import RANKED, REFERENCE, Study
from diffect.reports.wording import joined
from diffect.runs import grid
from diffect.runs.grid import short
from diffect.runs.record import METRICS
from diffect.runs.statistics import BLOCKS, Estimate
from diffect.runs.table import NO_EFFECT, Run

_CURVE = 120  # points of a training curve; a screen shows no more


def page_data(study: Study) -> dict[str, Any]:
    """All but the pictures. Groups, runs, categories and metrics are referred to by their positions in the lists."""
    categories = grid.categories(study.runs)
    places = {id(run): place for place, run in enumerate(study.runs)}
    groups = [
        {"label": study.label(group), "values": list(group.values), "runs": [places[id(run)] for run in group.runs]}
        for group in study.groups
    ]
    group_of = {run: place for place, group in enumerate(groups) for run in group["runs"]}
    return {
        "name": study.name,
        "axes": short(study.axes),
        "categories": list(categories),
        "metrics": [_metric(place) for place in range(len(METRICS))],
        "charted": [place for place, metric in enumerate(METRICS) if metric.name in study.estimates],
        "groups": groups,
        "baseline": None if study.comparison is None else study.groups.index(study.comparison.baseline),
        "estimates": _estimates(study, categories),
        "runs": [_run(run, group_of[place], categories) for place, run in enumerate(study.runs)],
        "schedules": _schedules(study),
        "levels": _levels(study),
        "along": _along(study),
        "tradeoffs": _tradeoffs(study, categories),
        "ranking": _ranking(study),
        "tables": page_tables(study),
    }


def _metric(place: int) -> dict[str, Any]:
    metric = METRICS[place]
    return {
        "name": metric.name,
        "title": metric.title,
        "higher": metric.higher_is_better,
        "share": metric.name != "latency_ms",  # all others lie between 0 and 1
        "digits": len(figure_text(metric, 0.0).partition(".")[2]),
        "reference": REFERENCE.get(metric.name),
    }


def _estimates(study: Study, categories: Sequence[str]) -> list[list[list[list[float | None]] | None]]:
    """By metric, and there over all categories and in each, a list per group; None where none is measured.

    The list holds the mean, its half-width, and how many categories it lacks: with any, it does not compare.
    """
    rows = [study.estimates, *(study.by_category[category] for category in categories)]
    return [
        [[[*_pair(one), len(one.missing)] for one in row[metric.name]] if metric.name in row else None for row in rows]
        for metric in METRICS
    ]


def _pair(estimate: Estimate) -> list[float | None]:
    return [_rounded(estimate.value), _rounded(estimate.half)]


def _run(run: Run, group: int, categories: Sequence[str]) -> dict[str, Any]:
    record = run.record
    values = [
        [
            [_rounded(result.metrics.get(metric.name)), *map(_rounded, result.intervals.get(metric.name, ()))]
            for metric in METRICS
        ]
        for result in (record.results[category] for category in record.categories)
    ]
    made = record.provenance
    known = {"device": made.device, "created": made.created, "commit": made.commit, "test_reads": record.test_reads}
    about = {name: str(value) for name, value in known.items() if value}
    if "total" in record.seconds:
        about["seconds"] = f"{record.seconds['total']:.0f}"
    return {
        "signature": record.signature,
        "folder": run.folder.name,
        "group": group,
        "seed": run.unit[1],
        "categories": [categories.index(name) for name in run.unit[0]],
        "values": values,
        "losses": _thinned(record.training.losses),
        "choices": {key: value for key, value in sorted(run.choices.items()) if key not in NO_EFFECT},
        "about": about,
    }


def _thinned(losses: Iterable[tuple[int, float | None]]) -> list[list[float | None]]:
    """[step, loss], at most about _CURVE of them, the first and the last among them."""
    points = [[float(step), _rounded(loss)] for step, loss in losses]
    step = max(1, math.ceil(len(points) / _CURVE))
    return points[::step] + (points[-1:] if (len(points) - 1) % step else [])


def _schedules(study: Study) -> list[dict[str, Any]]:
    """The schedules that runs train by, with the places of those runs; one that lacks a curve is left out."""
    found = []
    for one in schedules.schedules(study):
        curves = one.curves.model_dump(exclude={"name"})
        if len({len(curve) for curve in curves.values()}) == 1 and len(curves["t"]) > 1:
            points = {key: [_rounded(value) for value in curve] for key, curve in curves.items()}
            found.append({"name": one.name, "runs": list(one.runs), **points})
    return found


def _levels(study: Study) -> dict[str, Any]:
    """By metric and group, [log-SNR, mean, half-width] at each scoring level; over what, and the groups without."""
    found = {}
    for place, metric in enumerate(METRICS):
        if metric.name in levels.METRICS:
            curves = [levels.curve(group, metric.name) for group in study.groups]
            found[place] = [[[_rounded(level), *_pair(one)] for level, one in line] for line in curves]
    lacking = levels.left_out(study)
    return {
        "curves": {place: lines for place, lines in found.items() if any(lines)},
        "partial": [levels.partial(study, group) for group in study.groups],
        "left_out": f"{levels.LEFT_OUT.capitalize()}: {joined(lacking)}." if lacking else "",
    }


def _along(study: Study) -> dict[str, Any] | None:
    """The ticks of the axis that holds numbers, and by line the group at each; the figures are in the estimates."""
    found = curves.curves(study)
    if found is None:
        return None
    named = found.named()
    return {
        "axis": found.axis,
        "log": found.log,
        "apart": found.apart,
        "ticks": [[_rounded(one.place), one.text, place in named] for place, one in enumerate(found.ticks)],
        "lines": [{"name": line.name, "groups": list(line.groups)} for line in found.lines],
    }


def _tradeoffs(study: Study, categories: Sequence[str]) -> dict[str, Any]:
    """By metric, and there over all categories and in each, the groups to draw, and what the others lack."""
    found: dict[int, list[dict[str, Any] | None]] = {}
    for place, metric in enumerate(METRICS):
        if metric.name not in study.estimates or metric.name == tradeoff.LATENCY:
            continue
        scopes = [tradeoff.tradeoff(study, metric.name, category) for category in (None, *categories)]
        found[place] = [{"drawn": list(one.points), "left_out": list(one.left_out.items())} for one in scopes]
    return {"unlike": tradeoff.unlike(study), "why": tradeoff.LEFT_OUT.capitalize(), "metrics": found}


def _ranking(study: Study) -> dict[str, Any] | None:
    """The groups' average ranks, the best first, and which of them are not shown to differ; None without a test."""
    found = study.ranking
    if found.reason is not None:
        return None
    places = {study.label(group): place for place, group in enumerate(study.groups)}
    return {
        "metric": METRIC[RANKED].title,
        "over": f"{found.blocks} {BLOCKS[study.estimand]}",
        "groups": [places[name] for name in found.groups],
        "ranks": [_rounded(rank) for rank in found.ranks],
        "critical": _rounded(found.critical_difference),
        "cliques": [[clique[0], clique[-1]] for clique in found.cliques],
    }


def _rounded(value: float | None) -> float | None:
    """Six significant digits."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
