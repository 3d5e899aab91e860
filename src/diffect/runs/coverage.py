"""What intervals and tests achieve in small studies, as the simulation in experiments/statistics measured it."""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from diffect.runs.statistics import BLOCKS

TABLE = Path(__file__).with_name("coverage.csv")


@dataclass(frozen=True)
class Coverage:
    """Of simulated studies with so many blocks: how often intervals hold the truth, and tests reject it at 5%."""

    estimand: str
    blocks: int
    studies: int
    mean_coverage: float
    difference_coverage: float
    size: float

    @property
    def of_means(self) -> str:
        return f"{self._where}: of 95% intervals of a mean {self.mean_coverage:.1%} held it."

    @property
    def of_differences(self) -> str:
        return (
            f"{self._where}: of 95% intervals of a difference {self.difference_coverage:.1%} held it, and"
            f" {self.size:.1%} of uncorrected p were at most 0.05 where nothing differed."
        )

    @property
    def _where(self) -> str:
        return f"measured in {self.studies:,} simulated studies with {self.blocks} {BLOCKS[self.estimand]}"


def simulated_coverage(estimand: str, blocks: int) -> Coverage | None:
    """What was measured at so many seeds (fixed) or categories (random); None where the promise of 95% holds."""
    return _table().get((estimand, blocks))


@cache
def _table() -> dict[tuple[str, int], Coverage]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        rows = [
            Coverage(
                row["estimand"],
                int(row["blocks"]),
                int(row["studies"]),
                float(row["mean_coverage"]),
                float(row["difference_coverage"]),
                float(row["size"]),
            )
            for row in csv.DictReader(file)
        ]
    return {(row.estimand, row.blocks): row for row in rows}
