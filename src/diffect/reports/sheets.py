"""The tables of a report: the summary, the differences, and each category by itself."""

from collections.abc import Sequence

from diffect.reports import notes, verdicts
from diffect.reports.cells import METRIC, SHOWN, WARNED, Cell, Sheet, column, marks, number, short
from diffect.reports.differences import COMPARED, Comparison, Difference
from diffect.runs import grid
from diffect.runs.grid import Group
from diffect.runs.statistics import Estimate
from diffect.runs.table import Run

# The columns of the summary, and what the field quotes as its reference for three of them.
COLUMNS = (
    *("image_auroc", "image_tpr_at_5fpr", "pixel_auroc", "pixel_aupro_30"),
    *("conformal_fpr", "conformal_tpr", "latency_ms"),
)
BY_CATEGORY = COLUMNS[:-1]  # an image takes as long whatever it shows
REFERENCE = {"image_auroc": 0.94, "image_tpr_at_5fpr": 0.89, "latency_ms": 100.0}
_TALL = 40  # rows that a page holds

Estimates = dict[str, tuple[Estimate, ...]]  # by metric, in the order of the groups


def summary(
    name: str,
    axes: Sequence[str],
    groups: Sequence[Group],
    estimates: Estimates,
    holes: Sequence[tuple[str, ...]],
    runs: Sequence[Run],
) -> Sheet:
    """A row per group, means over categories and seeds in each of COLUMNS; below, holes and the reference."""
    rows: list[tuple[str | Cell, ...]] = []
    for group, figures in zip(groups, _figures(estimates), strict=True):
        count = f"{len(group.runs)}/{group.planned}" if group.missing else str(len(group.runs))
        rows.append((*(group.values or (name,)), count, *figures))
    if notes.holes_as_rows(groups, holes):
        rows += [(*values, "0", *(Cell("") for _ in estimates)) for values in holes]
    blanks = ("",) * (len(axes) or 1)
    quoted = [Cell(number(METRIC[m], REFERENCE[m]) if m in REFERENCE else "") for m in estimates]
    rows.append(("reference", *blanks, *quoted))
    header = (*short(axes or ("study",)), "runs", *(METRIC[metric].title for metric in estimates))
    return Sheet(_title(name, runs, groups), header, len(blanks), tuple(rows), rules=(len(rows) - 1,))


def differences(axes: Sequence[str], found: Comparison) -> Sheet:
    """A row per group other than the baseline: its paired difference and its p in each metric compared."""
    columns = [part for metric in COMPARED for part in _difference(metric, found.differences[metric])]
    rows = [
        (*group.values, pairs.count, *(column[place] for column in columns))
        for place, (group, pairs) in enumerate(zip(found.groups, found.pairs, strict=True))
    ]
    chosen = "" if found.named else f", the best mean {METRIC[COMPARED[0]].title}"
    title = f"differences from {found.baseline.label}{chosen}"
    header = (*short(axes), "pairs", *(title for metric in COMPARED for title in (METRIC[metric].title, "p")))
    return Sheet(title, header, len(axes), tuple(rows), notes=verdicts.lines(found))


def by_category(
    name: str,
    axes: Sequence[str],
    groups: Sequence[Group],
    estimates: dict[str, Estimates],
    warned: dict[str, tuple[str, ...]],
) -> list[Sheet]:
    """A row per category and group, means over seeds; several tables where one would be taller than a page."""
    names = list(estimates)
    step = max(1, _TALL // len(groups))
    parts = [names[start : start + step] for start in range(0, len(names), step)]
    sheets = []
    for place, part in enumerate(parts, 1):
        rows: list[tuple[str | Cell, ...]] = []
        for category in part:
            shown = category + (WARNED if category in warned else "")
            for group, figures in zip(groups, _figures(estimates[category]), strict=True):
                rows.append((shown, *(group.values or (name,)), *figures))
        header = ("category", *short(axes or ("study",)), *(METRIC[metric].title for metric in BY_CATEGORY))
        title = "by category, mean over seeds" + (f" ({place} of {len(parts)})" if len(parts) > 1 else "")
        rules = tuple(range(len(groups), len(rows), len(groups)))
        sheets.append(Sheet(title, header, 1 + (len(axes) or 1), tuple(rows), rules))
    return sheets


def _figures(estimates: Estimates) -> list[tuple[Cell, ...]]:
    """A row of cells per group."""
    return list(zip(*(column(METRIC[metric], row) for metric, row in estimates.items()), strict=True))


def _difference(metric: str, row: Sequence[Difference]) -> tuple[list[str | Cell], list[str | Cell]]:
    """The column of one metric's differences, and that of their p."""
    cells: list[str | Cell] = []
    texts: list[str | Cell] = []
    for one, mark in zip(row, marks([one.estimate for one in row]), strict=True):
        value, half = one.estimate.value, one.estimate.half
        if value is None:
            cells.append(Cell(""))
        else:
            spread = None if half is None else number(METRIC[metric], half)
            cells.append(Cell(f"{value:+.3f}", spread, mark=SHOWN * one.shown + mark))
        texts.append(Cell("") if one.p is None else "<0.001" if one.p < 0.001 else f"{one.p:.3f}")
    return cells, texts


def _title(name: str, runs: Sequence[Run], groups: Sequence[Group]) -> str:
    warned = notes.warnings(runs)
    names = [category + (WARNED if category in warned else "") for category in grid.categories(runs)]
    seeds = sorted({run.unit[1] for run in runs})
    listed = ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:7])} and {len(names) - 7} more"
    return (
        f"{name}: {notes.count(runs, 'run')} in {notes.count(groups, 'group')}; "
        f"{notes.count(names, 'category', 'categories')} ({listed}); "
        f"{notes.count(seeds, 'seed')} ({', '.join(map(str, seeds))})"
    )
