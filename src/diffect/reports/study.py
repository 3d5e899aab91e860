"""A study as its readers see it: ranked groups of runs, their means and differences, and the tables of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from diffect.reports import comparison, comparison_notes, latency, likeness, notes, promises, seeds, tables
from diffect.reports.cells import Table
from diffect.reports.comparison import COMPARED, Comparison
from diffect.reports.tables import BY_CATEGORY, COLUMNS, Estimates
from diffect.runs import grid, statistics
from diffect.runs.grid import Group
from diffect.runs.ranks import Ranking, Stability, ranking, stability
from diffect.runs.statistics import BLOCKS, FIXED, Estimate
from diffect.runs.table import LeftOut, Run

RANKED = COLUMNS[0]


@dataclass(frozen=True)
class Study:
    """All that a report is made of; `groups` stand by their mean image AUROC, and what is by group follows them.

    `ranking` and `stability` are of the image AUROC too, and have an order of their own.
    """

    name: str
    axes: tuple[str, ...]
    runs: tuple[Run, ...]
    groups: tuple[Group, ...]
    estimates: Estimates
    by_category: dict[str, Estimates]
    comparison: Comparison | None
    tables: tuple[Table, ...]
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    estimand: str
    ranking: Ranking
    stability: Stability

    def label(self, group: Group) -> str:
        return group.label or self.name


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
    comparison = _comparison(runs, axes, groups, estimates, baseline, estimand)
    holes = grid.absent(groups)
    warned = notes.warnings(runs)
    tied = {metric: _tied(runs, groups, metric, row, estimand) for metric, row in estimates.items()}
    pages = [tables.summary_table(name, axes, groups, estimates, tied, holes, runs, estimand)]
    if comparison is not None:
        pages += [tables.difference_table(axes, comparison), *tables.test_tables(axes, comparison)]
    if len(by_category) > 1:
        tied_in = {
            category: {metric: _tied(runs, groups, metric, row, FIXED, category) for metric, row in found.items()}
            for category, found in by_category.items()
        }
        pages += tables.category_tables(name, axes, groups, by_category, tied_in, warned)
    ranks = ranking(_blocks(name, runs, groups, estimates, estimand), BLOCKS[estimand])
    firsts = stability(_blocks(name, runs, groups, estimates, FIXED))
    said = notes.lines(runs, groups, axes, holes, estimates, by_category, warned)
    rates = {category: found["conformal_fpr"] for category, found in by_category.items()}
    beside = (seeds.note(groups, estimates[RANKED]), promises.note(groups, rates), likeness.note(groups))
    said += [text for text in (*beside, latency.note(runs)) if text]
    if len(groups) > 1:
        said += comparison_notes.ranking_notes(ranks, firsts, estimand)
    return Study(
        name=name,
        axes=axes,
        runs=tuple(runs),
        groups=groups,
        estimates=estimates,
        by_category=by_category,
        comparison=comparison,
        tables=tuple(pages),
        notes=tuple(said),
        left_out=tuple(left_out),
        estimand=estimand,
        ranking=ranks,
        stability=firsts,
    )


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
