"""A study as its readers see it: two tables of means with intervals, and the notes beside them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffect.reports import notes
from diffect.runs import grid, table
from diffect.runs.grid import Group
from diffect.runs.record import METRICS, Metric
from diffect.runs.statistics import Estimate, fixed_mean
from diffect.runs.table import LeftOut, Run

# The columns of the summary, and what the field quotes as its reference for three of them.
COLUMNS = (
    *("image_auroc", "image_tpr_at_5fpr", "pixel_auroc", "pixel_aupro_30"),
    *("conformal_fpr", "conformal_tpr", "latency_ms"),
)
REFERENCE = {"image_auroc": 0.94, "image_tpr_at_5fpr": 0.89, "latency_ms": 100.0}
WARNED, PARTIAL, IMAGES = "†", "‡", "§"
_METRIC = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True)
class Cell:
    """A figure as text: mean, half-width or None, whether it is its column's best, and a note mark."""

    mean: str
    half: str | None = None
    best: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table: a title, column titles, and rows of texts (the first `labels` columns) and cells."""

    title: str
    header: tuple[str, ...]
    labels: int
    rows: tuple[tuple[str | Cell, ...], ...]


@dataclass(frozen=True)
class Study:
    """All that a report is made of; `estimates[metric]` follows `groups`."""

    name: str
    axes: tuple[str, ...]
    runs: tuple[Run, ...]
    groups: tuple[Group, ...]
    estimates: dict[str, tuple[Estimate, ...]]
    sheets: tuple[Sheet, ...]
    notes: tuple[str, ...]
    left_out: tuple[LeftOut, ...]

    def label(self, group: Group) -> str:
        return ", ".join(group.values) or self.name


def read(name: str, folder: Path) -> Study:
    """The study `name` from the records in `folder`/*/; ValueError with a way out where none is finished."""
    hint = f"diffect train experiment={name}"
    if not folder.is_dir():
        raise ValueError(f"there are no runs of '{name}': no folder {folder}; make them with: {hint}")
    runs, left_out = table.load(folder, name)
    if not runs and not left_out:
        raise ValueError(f"there are no runs in {folder}; make them with: {hint}")
    if not runs:
        raise ValueError(
            f"none of the {len(left_out)} runs in {folder} is finished; the first, {left_out[0].name}, is"
            f" {left_out[0].reason}; to go on: {hint}"
        )
    return build(name, runs, left_out)


def build(name: str, runs: Sequence[Run], left_out: Sequence[LeftOut] = ()) -> Study:
    """The study made of `runs`: groups along the axes, their means, the tables and the notes."""
    axes = grid.axes(runs)
    groups = tuple(grid.groups(runs, axes))
    estimates = {metric: _estimates(runs, groups, metric) for metric in COLUMNS}
    holes = grid.absent(groups)
    by_category = {c: _estimates(runs, groups, COLUMNS[0], (c,)) for c in grid.categories(runs)}
    warnings = notes.warnings(runs)
    sheets = [_summary(name, axes, groups, estimates, holes, runs)]
    if len(by_category) > 1:
        sheets.append(_by_category(name, axes, groups, by_category, warnings))
    lines = notes.lines(runs, groups, axes, holes, [e for row in estimates.values() for e in row], warnings)
    return Study(name, axes, tuple(runs), groups, estimates, tuple(sheets), tuple(lines), tuple(left_out))


def _estimates(
    runs: Sequence[Run], groups: Sequence[Group], metric: str, only: tuple[str, ...] | None = None
) -> tuple[Estimate, ...]:
    """One estimate per group, all over the same categories: those where any run has the metric."""
    wanted = grid.categories(runs, metric)
    if only is not None:
        wanted = tuple(category for category in only if category in wanted)
    found = []
    for group in groups:
        values, replicates = grid.cells(group.runs, metric)
        inside = {unit: value for unit, value in values.items() if unit[0] in wanted}
        found.append(fixed_mean(inside, replicates, wanted))
    return tuple(found)


def _summary(
    name: str,
    axes: tuple[str, ...],
    groups: Sequence[Group],
    estimates: dict[str, tuple[Estimate, ...]],
    holes: Sequence[tuple[str, ...]],
    runs: Sequence[Run],
) -> Sheet:
    columns = {metric: _column(_METRIC[metric], row) for metric, row in estimates.items()}
    labels = len(axes) or 1
    rows: list[tuple[str | Cell, ...]] = []
    for place, group in enumerate(groups):
        count = f"{len(group.runs)}/{group.planned}" if group.missing else str(len(group.runs))
        figures = [columns[metric][place] for metric in COLUMNS]
        rows.append((*(group.values or (name,)), count, *figures))
    if notes.holes_as_rows(groups, holes):
        rows += [(*values, "0", *(Cell("") for _ in COLUMNS)) for values in holes]
        rows.sort(key=lambda row: grid.natural(str(value) for value in row[:labels]))
    blanks = ("",) * (labels - 1)
    quoted = [Cell(_number(_METRIC[m], REFERENCE[m]) if m in REFERENCE else "") for m in COLUMNS]
    rows.append(("reference", *blanks, "", *quoted))
    header = (*short(axes or ("study",)), "runs", *(_METRIC[metric].title for metric in COLUMNS))
    return Sheet(_title(name, runs, groups), header, labels, tuple(rows))


def _by_category(
    name: str,
    axes: tuple[str, ...],
    groups: Sequence[Group],
    by_category: dict[str, tuple[Estimate, ...]],
    warnings: dict[str, tuple[str, ...]],
) -> Sheet:
    columns = [_column(_METRIC[COLUMNS[0]], row) for row in by_category.values()]
    rows: tuple[tuple[str | Cell, ...], ...] = tuple(
        (*(group.values or (name,)), *(column[place] for column in columns)) for place, group in enumerate(groups)
    )
    names = [category + (WARNED if category in warnings else "") for category in by_category]
    title = f"{_METRIC[COLUMNS[0]].title} by category, mean over seeds"
    return Sheet(title, (*short(axes or ("study",)), *names), len(axes) or 1, rows)


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


def short(axes: Sequence[str]) -> list[str]:
    """Each axis by its last part, where that is not another's too."""
    last = [axis.rsplit(".", 1)[-1] for axis in axes]
    return [part if last.count(part) == 1 else axis for part, axis in zip(last, axes, strict=True)]


def _column(metric: Metric, row: Sequence[Estimate]) -> list[Cell]:
    """The cells of one metric; the best among comparable ones is marked, with all that look equal to it."""
    shown = [None if e.value is None else _number(metric, e.value) for e in row]
    rivals = [float(text) for text, e in zip(shown, row, strict=True) if text is not None and e.comparable]
    best = None
    if metric.higher_is_better is not None and len(rivals) > 1:
        best = max(rivals) if metric.higher_is_better else min(rivals)
    by_seed = any("seeds" in estimate.sources for estimate in row)
    cells = []
    for text, estimate in zip(shown, row, strict=True):
        if text is None:
            cells.append(Cell(""))
            continue
        half = None if estimate.half is None else _number(metric, estimate.half)
        won = best is not None and estimate.comparable and float(text) == best
        mark = "" if estimate.comparable else PARTIAL
        if by_seed and half is not None and "seeds" not in estimate.sources:
            mark += IMAGES
        cells.append(Cell(text, half, won, mark))
    return cells


def _number(metric: Metric, value: float) -> str:
    return f"{value:.1f}" if metric.name == "latency_ms" else f"{value:.3f}"


def two_lines(title: str) -> tuple[str, str]:
    """A column's title over two lines, the shorter way; a single word stands on the lower one."""
    words = title.split()
    if len(words) < 2 or len(title) <= 8:
        return "", title
    ways = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    return min(ways, key=lambda way: max(map(len, way)))


def compact(number: str) -> str:
    """A number's text without a leading zero."""
    return number.removeprefix("0") if number.startswith("0.") else number
