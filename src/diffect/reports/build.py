"""From finished runs to a study: groups, means, differences, ranks, tables and notes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from diffect.reports import comparison
from diffect.reports.comparison import COMPARED, Comparison
from diffect.reports.notes import study_notes
from diffect.reports.study import BY_CATEGORY, COLUMNS, RANKED, Estimates, Study
from diffect.reports.tables import study_tables
from diffect.runs import grid, statistics
from diffect.runs.grid import Group
from diffect.runs.ranks import ranking, stability
from diffect.runs.statistics import BLOCKS, FIXED, Estimate
from diffect.runs.table import LeftOut, Run


def build_study(
    name: str,
    runs: Sequence[Run],
    left_out: Sequence[LeftOut] = (),
    baseline: str | None = None,
    estimand: str = FIXED,
) -> Study:
    """The study made of `runs`: groups along the axes, their means and differences, the tables and the notes.

    `baseline` names the group that the others are compared with, by its label or its choices; by default it
    is the one with the best mean image AUROC. `estimand` says if the categories are fixed, or a sample (random).
    Raises ValueError where the baseline names no group, or several, or the categories are too few for a sample.
    """
    statistics.check_estimand(estimand, grid.categories(runs))
    axes = grid.axes(runs)
    groups = _ranked(runs, grid.groups(runs, axes), estimand)
    recorded = {RANKED} | {name for run in runs for result in run.record.results.values() for name in result.metrics}
    columns = [metric for metric in COLUMNS if metric in recorded]  # earlier runs know fewer metrics
    estimates = {metric: _estimates(runs, groups, metric, estimand) for metric in columns}
    by_category = {
        category: {
            metric: _estimates(runs, groups, metric, FIXED, category) for metric in columns if metric in BY_CATEGORY
        }
        for category in grid.categories(runs)
    }
    study = Study(
        name=name,
        axes=axes,
        runs=tuple(runs),
        groups=groups,
        estimates=estimates,
        by_category=by_category,
        tied={metric: _tied(runs, groups, metric, row, estimand) for metric, row in estimates.items()},
        tied_by_category={
            category: {metric: _tied(runs, groups, metric, row, FIXED, category) for metric, row in found.items()}
            for category, found in by_category.items()
        },
        holes=tuple(grid.absent(groups)),
        warned=_warnings(runs),
        comparison=_comparison(runs, axes, groups, estimates, baseline, estimand),
        left_out=tuple(left_out),
        estimand=estimand,
        ranking=ranking(_blocks(name, runs, groups, estimates, estimand), BLOCKS[estimand]),
        stability=stability(_blocks(name, runs, groups, estimates, FIXED)),
    )
    return replace(study, tables=study_tables(study), notes=study_notes(study))


def _warnings(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """The audit's warnings by category, as the records carry them."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for category, audit in run.record.audit.items():
            if audit.warning:
                found.setdefault(category, set()).add(" ".join(audit.warning.split()))
    return {category: tuple(sorted(texts)) for category, texts in found.items()}


def _ranked(runs: Sequence[Run], groups: Sequence[Group], estimand: str) -> tuple[Group, ...]:
    """By mean image AUROC, the best first; those whose mean lacks a category, or all, come last."""

    def place(pair: tuple[Group, Estimate]) -> tuple[bool, float]:
        value = pair[1].value
        return not pair[1].comparable, 0.0 if value is None else -value

    pairs = zip(groups, _estimates(runs, groups, RANKED, estimand), strict=True)
    return tuple(group for group, _ in sorted(pairs, key=place))


def _wanted(runs: Sequence[Run], metric: str, only: str | None = None) -> tuple[str, ...]:
    """The categories that a mean is over: those where any run has the metric."""
    return tuple(name for name in grid.categories(runs, metric) if only in (None, name))


def _estimates(
    runs: Sequence[Run], groups: Sequence[Group], metric: str, estimand: str, only: str | None = None
) -> tuple[Estimate, ...]:
    """One estimate per group, all over the same categories."""
    wanted = _wanted(runs, metric, only)
    return tuple(statistics.estimate_mean(estimand, *grid.cells(group.runs, metric), wanted) for group in groups)


def _tied(
    runs: Sequence[Run],
    groups: Sequence[Group],
    metric: str,
    row: Sequence[Estimate],
    estimand: str,
    only: str | None = None,
) -> tuple[bool, ...]:
    return comparison.tied_with_best(groups, row, metric, _wanted(runs, metric, only), estimand)


def _blocks(
    name: str, runs: Sequence[Run], groups: Sequence[Group], estimates: Estimates, estimand: str
) -> dict[str, dict[Any, float]]:
    """By group that has every category, the image AUROC of each block."""
    wanted = _wanted(runs, RANKED)
    return {
        group.label or name: statistics.block_means(estimand, grid.cells(group.runs, RANKED)[0], wanted)
        for group, estimate in zip(groups, estimates[RANKED], strict=True)
        if estimate.comparable
    }


def _comparison(
    runs: Sequence[Run],
    axes: Sequence[str],
    groups: Sequence[Group],
    estimates: Estimates,
    baseline: str | None,
    estimand: str,
) -> Comparison | None:
    """All groups against the one that `baseline` names, or else the best; None where there is nothing to compare."""
    best = comparison.best_group(groups, estimates[RANKED])
    chosen = best if baseline is None else comparison.group_named(groups, axes, baseline)
    if chosen is None or len(groups) < 2:
        return None
    wanted = {metric: grid.categories(runs, metric) for metric in COMPARED}
    return comparison.compare(groups, wanted, chosen, baseline is not None, estimand)
