"""From finished runs to a study: groups, means, differences, ranks, tables and notes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from diffect.reports.comparison import COMPARED, compare, group_named, tied_with_best
from diffect.reports.notes import study_notes
from diffect.reports.study import BY_CATEGORY, COLUMNS, RANKED, Estimates, Study, Ties
from diffect.reports.tables import study_tables
from diffect.reports.wording import grouped
from diffect.runs import grid, statistics
from diffect.runs.grid import Group
from diffect.runs.ranks import ranking, stability
from diffect.runs.statistics import BLOCKS, FEWEST_SEEDS, FIXED, Estimate
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
    estimates, tied = _table(runs, groups, columns, estimand)
    categories = {
        category: _table(runs, groups, [metric for metric in columns if metric in BY_CATEGORY], FIXED, category)
        for category in grid.categories(runs)
    }
    comparison = None
    if (chosen := _baseline(axes, groups, estimates[RANKED], baseline)) is not None:
        wanted = {metric: grid.categories(runs, metric) for metric in COMPARED}
        comparison = compare(groups, wanted, chosen, baseline is not None, estimand)
    study = Study(
        name=name,
        axes=axes,
        runs=tuple(runs),
        groups=groups,
        estimates=estimates,
        by_category={category: means for category, (means, _) in categories.items()},
        tied=tied,
        tied_by_category={category: ties for category, (_, ties) in categories.items()},
        holes=tuple(grid.absent(groups)),
        warned=_warnings(runs),
        comparison=comparison,
        left_out=tuple(left_out),
        estimand=estimand,
        ranking=ranking(_blocks(name, runs, groups, estimates, estimand), BLOCKS[estimand]),
        stability=stability(_blocks(name, runs, groups, estimates, FIXED)),
    )
    return replace(study, tables=study_tables(study), notes=study_notes(study))


def _table(
    runs: Sequence[Run], groups: Sequence[Group], metrics: Sequence[str], estimand: str, only: str | None = None
) -> tuple[Estimates, Ties]:
    """By metric, the mean of each group over the same categories, all or one, and whether it ties with the best."""
    estimates, tied = {}, {}
    for metric in metrics:
        wanted = tuple(name for name in grid.categories(runs, metric) if only in (None, name))
        estimates[metric] = _means(groups, metric, estimand, wanted)
        tied[metric] = tied_with_best(groups, estimates[metric], metric, wanted, estimand)
    return estimates, tied


def _means(groups: Sequence[Group], metric: str, estimand: str, wanted: Sequence[str]) -> tuple[Estimate, ...]:
    cells = (grid.cells(group.runs, metric) for group in groups)
    return tuple(statistics.estimate_mean(estimand, *one, wanted, FEWEST_SEEDS) for one in cells)


def _warnings(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """The audit's warnings by category, as the records carry them."""
    warnings = {
        (category, " ".join(audit.warning.split()))
        for run in runs
        for category, audit in run.record.audit.items()
        if audit.warning
    }
    return {category: tuple(texts) for category, texts in grouped(sorted(warnings)).items()}


def _ranked(runs: Sequence[Run], groups: Sequence[Group], estimand: str) -> tuple[Group, ...]:
    """By mean image AUROC, the best first; those whose mean lacks a category, or all, come last."""
    means = _means(groups, RANKED, estimand, grid.categories(runs, RANKED))

    def place(pair: tuple[Group, Estimate]) -> tuple[bool, float]:
        return not pair[1].comparable, -(pair[1].value or 0.0)

    return tuple(group for group, _ in sorted(zip(groups, means, strict=True), key=place))


def _blocks(
    name: str, runs: Sequence[Run], groups: Sequence[Group], estimates: Estimates, estimand: str
) -> dict[str, dict[Any, float]]:
    """By group that has every category, the image AUROC of each block."""
    wanted = grid.categories(runs, RANKED)
    return {
        group.label or name: statistics.block_means(estimand, grid.cells(group.runs, RANKED)[0], wanted)
        for group, estimate in zip(groups, estimates[RANKED], strict=True)
        if estimate.comparable
    }


def _baseline(
    axes: Sequence[str], groups: Sequence[Group], ranked: Sequence[Estimate], named: str | None
) -> Group | None:
    """The group that the others are compared with: the named one, or else the best that has every category."""
    best = groups[0] if ranked[0].comparable else None  # groups are in order of their means
    chosen = best if named is None else group_named(groups, axes, named)
    return chosen if len(groups) > 1 else None
