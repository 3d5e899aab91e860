"""The tables of a report: the summary, the differences, and each category by itself."""

from collections.abc import Sequence

from diffect.config.description import counted
from diffect.reports import comparison_notes, mean_notes
from diffect.reports.cells import (
    METRIC,
    NONE,
    SHOWN,
    WARNED,
    Cell,
    Table,
    estimate_cell,
    figure_text,
    marks,
    metric_cells,
    over_seeds,
)
from diffect.reports.comparison import COMPARED, Comparison, Difference
from diffect.reports.study import RANKED, REFERENCE, Estimates, Study, Ties
from diffect.runs import grid
from diffect.runs.grid import short
from diffect.runs.statistics import BLOCKS, RANDOM


def study_tables(study: Study) -> tuple[Table, ...]:
    """The summary, the differences with their tests, and the means in each category where there are several."""
    tables = [summary_table(study)]
    if (comparison := study.comparison) is not None:
        tables.append(difference_table(study.axes, comparison))
        if any(len(one.blocks) > 1 for row in comparison.differences.values() for one in row):
            tables.append(test_table(study.axes, comparison))
    return (*tables, *([category_table(study)] if len(study.by_category) > 1 else []))


def summary_table(study: Study) -> Table:
    """A row per group, means over categories and seeds in each of COLUMNS; below, holes and the reference."""
    estimates, ranked = study.estimates, study.estimates[RANKED]
    rows: list[tuple[str | Cell, ...]] = []
    cells = _cells(estimates, study.tied, over_seeds(estimates.values()))
    for group, estimate, figures in zip(study.groups, ranked, cells, strict=True):
        rows.append((*(group.values or (study.name,)), mean_notes.runs_used(group, RANKED, estimate), *figures))
    # More holes than groups are no holes in a crossed grid: such a grid was never meant.
    if len(study.holes) <= len(study.groups):
        rows += [(*values, "0", *(Cell("") for _ in estimates)) for values in study.holes]
    axes = study.axes or ("study",)
    quoted = [Cell(figure_text(METRIC[m], REFERENCE[m]) if m in REFERENCE else "") for m in estimates]
    rows.append(("reference", *("" for _ in axes), *quoted))
    header = (*short(axes), "runs", *(METRIC[metric].title for metric in estimates))
    rules = (len(rows) - 1,)
    return Table(_title(study), header, len(axes), tuple(rows), rules, caption=_caption(study), quoted=1)


def difference_table(axes: Sequence[str], comparison: Comparison) -> Table:
    """A row per group other than the baseline: its paired difference and its p in each metric compared."""
    several = over_seeds([one.estimate for one in row] for row in comparison.differences.values())
    columns: list[Sequence[str | Cell]] = []
    for metric, row in comparison.differences.items():
        marked = zip(row, marks([one.estimate for one in row], several), strict=True)
        columns += [
            [estimate_cell(METRIC[metric], one.estimate, SHOWN * one.shown + mark, "+") for one, mark in marked],
            [_p(one.p) for one in row],
        ]
    rows: list[tuple[str | Cell, ...]] = [
        (*group.values, pairs.count, *cells)
        for group, pairs, *cells in zip(comparison.groups, comparison.pairs, *columns, strict=True)
    ]
    best = "" if comparison.named else f"the best mean {METRIC[COMPARED[0]].title}"
    header = (*short(axes), "pairs", *(title for metric in COMPARED for title in (METRIC[metric].title, "p")))
    caption = (
        f"Mean difference of each group from {comparison.baseline.label}{best and f', which has {best}'}, over the"
        " pairs of category and seed compared"
        + mean_notes.plus_minus(one.estimate for row in comparison.differences.values() for one in row)
    )
    return Table(
        f"differences from {comparison.baseline.label}{best and f', {best}'}",
        header,
        len(axes),
        tuple(rows),
        notes=comparison_notes.difference_notes(comparison),
        caption=caption,
    )


def test_table(axes: Sequence[str], comparison: Comparison) -> Table:
    """A row per metric and group: its differences by block, tested without a normal law, and their size."""
    rows = [
        (METRIC[metric].title, *group.values, *_tests(one))
        for metric, row in comparison.differences.items()
        for group, one in zip(comparison.groups, row, strict=True)
    ]
    unit = BLOCKS[comparison.estimand]
    return Table(
        f"tests of the differences from {comparison.baseline.label}",
        ("metric", *short(axes), unit, "permutation p", "Wilcoxon p", "g_z", "superiority"),
        1 + len(axes),
        tuple(rows),
        tuple(range(len(comparison.groups), len(rows), len(comparison.groups))),
        comparison_notes.test_notes(comparison),
        f"Differences of each group from {comparison.baseline.label} with {unit} as blocks: tests that assume no normal"
        " law, and sizes of the effects",
    )


def category_table(study: Study) -> Table:
    """A row per category and group, means over seeds."""
    estimates = study.by_category
    several = over_seeds(row for means in estimates.values() for row in means.values())
    rows: list[tuple[str | Cell, ...]] = [
        (_marked(study, category), *(group.values or (study.name,)), *cells)
        for category, means in estimates.items()
        for group, cells in zip(study.groups, _cells(means, study.tied_by_category[category], several), strict=True)
    ]
    axes, metrics = study.axes or ("study",), next(iter(estimates.values()))  # the same in every category
    spread = mean_notes.plus_minus(one for means in estimates.values() for row in means.values() for one in row)
    return Table(
        "by category, mean over seeds",
        ("category", *short(axes), *(METRIC[metric].title for metric in metrics)),
        1 + len(axes),
        tuple(rows),
        tuple(range(len(study.groups), len(rows), len(study.groups))),
        tuple(mean_notes.category_interval_notes(estimates)),
        f"Mean of each group over its seeds in each category{spread}",
    )


def _cells(estimates: Estimates, tied: Ties, several: bool) -> list[tuple[Cell, ...]]:
    """A row of cells per group; `several` says that intervals of their table are over seeds."""
    columns = (metric_cells(METRIC[metric], row, tied[metric], several) for metric, row in estimates.items())
    return list(zip(*columns, strict=True))


def _tests(one: Difference) -> tuple[str, ...]:
    """Blocks, the p of the permutation and of Wilcoxon's test, and the two sizes of the effect."""
    size, share = one.standardised, one.superiority
    sizes = (NONE if size is None else f"{size:+.2f}", NONE if share is None else f"{share:.2f}")
    return (str(len(one.blocks)), _p(one.permutation), _p(one.wilcoxon), *sizes)


def _p(p: float | None) -> str:
    return NONE if p is None else "<0.001" if p < 0.001 else f"{p:.3f}"


def _caption(study: Study) -> str:
    """What the means of the summary are over, and what ± is."""
    names = grid.categories(study.runs)
    seeds = {run.unit[1] for run in study.runs}
    each = f"these {len(names)} categories" if len(names) > 1 else f"the category {names[0]}"
    over = f"{each} and its seeds" if len(seeds) > 1 else f"{each}, with seed {min(seeds)}"
    if study.estimand == RANDOM:
        over = f"its seeds, then over {len(names)} categories, a sample of their kind"
    spread = mean_notes.plus_minus(estimate for row in study.estimates.values() for estimate in row)
    return f"Mean of each group over {over}{spread}"


def _title(study: Study) -> str:
    names = [_marked(study, category) for category in grid.categories(study.runs)]
    shown = ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:7])} and {len(names) - 7} more"
    return (
        f"{study.name}: {counted(len(study.runs), 'run')} in {counted(len(study.groups), 'group')}; "
        f"{counted(len(names), 'category', 'categories')} ({shown}); "
        f"{mean_notes.seeds_title(study)}"
    )


def _marked(study: Study, category: str) -> str:
    return category + (WARNED if category in study.warned else "")
