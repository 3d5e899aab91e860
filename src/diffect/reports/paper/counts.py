"""How many images each category gave to fitting, selection, calibration and test, as the records say."""

from dataclasses import dataclass

import pandas as pd

from diffect.reports.cells import Table
from diffect.reports.study import Study
from diffect.runs.table import Run

UNKNOWN = "–"  # where no record says how many
KINDS = ("fit", "selection", "calibration", "test normal", "test defective", "test masks")


@dataclass(frozen=True)
class ImageCounts:
    """The least and the largest numbers in the runs, a row per category and a column per kind; NaN where unknown."""

    least: pd.DataFrame
    most: pd.DataFrame

    def total(self, *kinds: str) -> str:
        """Of all categories together, as "240", as "100–240" where runs differ, or UNKNOWN."""
        return _span(*(frame[list(kinds)].to_numpy().sum() for frame in (self.least, self.most)))

    def table(self) -> Table:
        """A row per category; no column that no record speaks of."""
        kinds = [kind for kind in KINDS if self.least[kind].notna().any()]
        rows = tuple(
            (category, *(_span(self.least.loc[category, kind], self.most.loc[category, kind]) for kind in kinds))
            for category in self.least.index
        )
        return Table("Images of each category", ("category", *kinds), 1, rows)


def image_counts(study: Study) -> ImageCounts:
    """The counts of all categories of the study."""
    rows = [{"category": category, **_of(run, category)} for run in study.runs for category in run.unit[0]]
    by_category = pd.DataFrame(rows, columns=["category", *KINDS]).groupby("category")
    return ImageCounts(by_category.min(), by_category.max())


def _of(run: Run, category: str) -> dict[str, int]:
    """What one run says of one category: its splits, or at least how many test images it scored."""
    counts = {}
    if split := run.record.splits.categories.get(category):
        counts = {"fit": split.fit, "selection": split.selection, "calibration": split.calibration}
        counts["test masks"] = split.masks
    if scored := [row.anomalous for row in run.record.results[category].scores]:
        counts |= {"test normal": scored.count(False), "test defective": scored.count(True)}
    return counts


def _span(least: float, most: float) -> str:
    if least != least:  # NaN
        return UNKNOWN
    return f"{least:.0f}" if least == most else f"{least:.0f}–{most:.0f}"
