"""What a report's tables are made of: figures as texts, with the marks that a reader needs."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from diffect.runs.record import METRICS, Metric
from diffect.runs.statistics import Estimate

WARNED, PARTIAL, IMAGES, SHOWN, TIED = "†", "‡", "§", "•", "≈"
NONE = "–"  # a figure that there is not
TIES = (
    f"{TIED}: tied with it, the 95% interval of their paired difference includes zero (of this one pair, not corrected"
    " for their number)."
)
METRIC = {metric.name: metric for metric in METRICS}


@dataclass(frozen=True)
class Cell:
    """A figure as text: mean, interval, whether it is the best of its column, and the marks of notes.

    `spread` is "± 0.039", or "[0.902, 0.998]" where that would leave the range of the figure, or empty.
    """

    mean: str
    spread: str = ""
    best: bool = False
    mark: str = ""

    def text(self, best: str) -> str:
        """The whole of it, or NONE without a mean; `best` is a format of the best mean, as "**{}**"."""
        mean = best.format(self.mean) if self.best else self.mean or NONE
        return mean + (f" {self.spread}" if self.spread else "") + self.mark


@dataclass(frozen=True)
class Table:
    """A table: a title, column titles, and rows of texts (the first `labels` columns) and cells.

    `rules` are the rows that a line parts from those above; `notes` are said below this table. `caption` says in one
    sentence, without its full stop, what the figures are means of, and what ± is. The last `quoted` rows are figures
    from elsewhere, and not for a paper.
    """

    title: str
    header: tuple[str, ...]
    labels: int
    rows: tuple[tuple[str | Cell, ...], ...]
    rules: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    caption: str = ""
    quoted: int = 0


def metric_cells(metric: Metric, row: Sequence[Estimate], tied: Sequence[bool], over_seeds: bool) -> list[Cell]:
    """The cells of one metric; the best among comparable ones is marked, with all that look equal to it, then ties.

    `tied` are those whose paired difference from the best has an interval that includes zero. `over_seeds` is that of
    their whole table, as in `marks`.
    """
    rivals = [float(figure_text(metric, e.value)) for e in row if e.value is not None and e.comparable]
    best = None
    if metric.higher_is_better is not None and len(rivals) > 1:
        best = max(rivals) if metric.higher_is_better else min(rivals)
    cells = []
    for estimate, mark, tie in zip(row, marks(row, over_seeds), tied, strict=True):
        cell = estimate_cell(metric, estimate, mark)
        won = best is not None and estimate.comparable and float(cell.mean) == best
        cells.append(replace(cell, best=won, mark=TIED * (tie and not won) + cell.mark))
    return cells


def estimate_cell(metric: Metric, estimate: Estimate, mark: str = "", sign: str = "") -> Cell:
    """The mean and its interval, marked where there is a mean; with sign "+" a difference."""
    if estimate.value is None:
        return Cell("")
    return Cell(figure_text(metric, estimate.value, sign), spread_text(metric, estimate, sign), mark=mark)


def spread_text(metric: Metric, estimate: Estimate, sign: str = "") -> str:
    """The interval as in `Cell`."""
    interval = ends(metric, estimate, sign)
    if interval is None or estimate.half is None:
        return ""
    if math.isclose(interval[1] - interval[0], 2 * estimate.half):
        return f"± {estimate.half:.{metric.decimals}f}"
    return f"[{', '.join(f'{end:.{metric.decimals}f}' for end in interval)}]"


def ends(metric: Metric, estimate: Estimate, sign: str = "") -> tuple[float, float] | None:
    """The ends of the interval, within the range of the figure or, with sign "+", of a difference."""
    return estimate.ends(-metric.high if sign else metric.low, metric.high)


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


def figure_text(metric: Metric, value: float, sign: str = "") -> str:
    """The figure with as many digits as a reader can use; with its sign where it can be negative, or with sign "+"."""
    return f"{value:{'+' if metric.low < 0 else sign}.{metric.decimals}f}"
