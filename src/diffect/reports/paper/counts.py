"""How many images each category gave to fitting, selection, calibration and test, as the records say."""

from dataclasses import dataclass

from diffect.reports.cells import Table
from diffect.reports.study import Study
from diffect.runs.table import Run

UNKNOWN = "–"  # where no record says how many
KINDS = ("fit", "selection", "calibration", "test normal", "test defective", "test masks")


@dataclass(frozen=True)
class ImageCounts:
    """By category and kind the distinct numbers of images in the runs, ascending; one where all runs agree."""

    by_category: dict[str, dict[str, tuple[int, ...]]]

    def total(self, *kinds: str) -> str:
        """Of all categories together, as "240", as "100–240" where runs differ, or UNKNOWN."""
        known = [[rows[kind] for kind in kinds] for rows in self.by_category.values()]
        if not known or not all(counts for row in known for counts in row):
            return UNKNOWN
        low = sum(counts[0] for row in known for counts in row)
        high = sum(counts[-1] for row in known for counts in row)
        return _span((low, high))

    def sheet(self) -> Table:
        """A row per category; no column that no record speaks of."""
        kinds = [kind for kind in KINDS if any(rows[kind] for rows in self.by_category.values())]
        rows = tuple(
            (category, *(_span(counts[kind]) for kind in kinds)) for category, counts in self.by_category.items()
        )
        return Table("Images of each category", ("category", *kinds), 1, rows)


def image_counts(study: Study) -> ImageCounts:
    """The counts of all categories of the study."""
    found: dict[str, dict[str, set[int]]] = {}
    for run in study.runs:
        for category in run.unit[0]:
            sets = found.setdefault(category, {kind: set() for kind in KINDS})
            for kind, number in _of(run, category).items():
                sets[kind].add(number)
    table = {
        category: {kind: tuple(sorted(numbers)) for kind, numbers in found[category].items()}
        for category in sorted(found)
    }
    return ImageCounts(table)


def _of(run: Run, category: str) -> dict[str, int]:
    """What one run says of one category: its splits, or at least how many test images it scored."""
    counts = {}
    if split := run.record.splits.categories.get(category):
        counts = {"fit": split.fit, "selection": split.selection, "calibration": split.calibration}
        counts["test masks"] = split.masks
    if scored := [row.anomalous for row in run.record.results[category].scores]:
        counts |= {"test normal": scored.count(False), "test defective": scored.count(True)}
    return counts


def _span(numbers: tuple[int, ...]) -> str:
    if not numbers:
        return UNKNOWN
    return str(numbers[0]) if numbers[0] == numbers[-1] else f"{numbers[0]}–{numbers[-1]}"
