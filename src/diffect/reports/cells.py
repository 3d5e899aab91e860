"""What a report's tables are made of: figures as texts, with the marks that a reader needs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from diffect.runs.record import METRICS, Metric
from diffect.runs.statistics import Estimate

WARNED, PARTIAL, IMAGES, SHOWN, TIED = "†", "‡", "§", "•", "≈"
TIES = (
    f"{TIED}: tied with it, the 95% interval of their paired difference includes zero (of this one pair, not corrected"
    " for their number)."
)
METRIC = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True)
class Cell:
    """A figure as text: mean, half-width or None, a note mark, and its place in its column.

    `best` is the column's best; `tied` is not, but the interval of its paired difference from the best includes
    zero.
    """

    mean: str
    half: str | None = None
    best: bool = False
    mark: str = ""
    tied: bool = False


@dataclass(frozen=True)
class Table:
    """A table: a title, column titles, and rows of texts (the first `labels` columns) and cells.

    `rules` are the rows that a line parts from those above; `notes` are said below this table. `caption` says in one
    sentence, without its full stop, what the figures are means of, and what ± is.
    """

    title: str
    header: tuple[str, ...]
    labels: int
    rows: tuple[tuple[str | Cell, ...], ...]
    rules: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    caption: str = ""


def metric_cells(metric: Metric, row: Sequence[Estimate], tied: Sequence[bool], over_seeds: bool) -> list[Cell]:
    """The cells of one metric; the best among comparable ones is marked, with all that look equal to it, then ties.

    `over_seeds` is that of their whole table, as in `marks`.
    """
    shown = [None if e.value is None else figure_text(metric, e.value) for e in row]
    rivals = [float(text) for text, e in zip(shown, row, strict=True) if text is not None and e.comparable]
    best = None
    if metric.higher_is_better is not None and len(rivals) > 1:
        best = max(rivals) if metric.higher_is_better else min(rivals)
    cells = []
    for text, estimate, mark, tie in zip(shown, row, marks(row, over_seeds), tied, strict=True):
        if text is None:
            cells.append(Cell(""))
            continue
        half = None if estimate.half is None else figure_text(metric, estimate.half)
        won = best is not None and estimate.comparable and float(text) == best
        cells.append(Cell(text, half, won, mark, tie and not won))
    return cells


def over_seeds(rows: Iterable[Sequence[Estimate]]) -> bool:
    """Whether any interval of a table covers the seeds."""
    return any("seeds" in estimate.sources for row in rows for estimate in row)


def marks(row: Sequence[Estimate], over_seeds: bool) -> list[str]:
    """What must be read with each estimate: that it lacks a category, or that only others of its table cover seeds."""
    return [
        ("" if estimate.comparable else PARTIAL)
        + (IMAGES if over_seeds and estimate.sources and "seeds" not in estimate.sources else "")
        for estimate in row
    ]


def figure_text(metric: Metric, value: float) -> str:
    """The figure with as many digits as a reader can use."""
    return f"{value:.1f}" if metric.name == "latency_ms" else f"{value:.3f}"


def split_title(title: str) -> tuple[str, str]:
    """A column's title over two lines, the shorter way; a single word is on the lower one."""
    words = title.split()
    if len(words) < 2 or len(title) <= 8:
        return "", title
    ways = [(" ".join(words[:i]), " ".join(words[i:])) for i in range(1, len(words))]
    return min(ways, key=lambda way: max(map(len, way)))


def without_zero(number: str) -> str:
    """A number's text without a leading zero."""
    return number.removeprefix("0") if number.startswith("0.") else number
