"""What intervals and tests achieve in small studies, as the simulation in experiments/statistics measured it."""

import csv
from functools import cache
from pathlib import Path

from diffect.runs.statistics import BLOCKS

TABLE = Path(__file__).with_name("coverage.csv")


def coverage_of_means(estimand: str, blocks: int) -> list[str]:
    """A sentence on how often intervals of a mean over so many seeds (fixed) or categories (random) hold the truth.

    None where the promise of 95% holds.
    """
    row = _table().get((estimand, str(blocks)))
    return [] if row is None else [f"{_where(row)} a mean {float(row['mean_coverage']):.1%} held it."]


def coverage_of_differences(estimand: str, blocks: int) -> list[str]:
    """The same of a difference, and how often its uncorrected test rejects what is true."""
    row = _table().get((estimand, str(blocks)))
    if row is None:
        return []
    held = f"{_where(row)} a difference {float(row['difference_coverage']):.1%} held it"
    return [f"{held}, and {float(row['size']):.1%} of uncorrected p were at most 0.05 where nothing differed."]


def _where(row: dict[str, str]) -> str:
    studies, unit = int(row["studies"]), BLOCKS[row["estimand"]]
    return f"measured in {studies:,} simulated studies with {row['blocks']} {unit}: of 95% intervals of"


@cache
def _table() -> dict[tuple[str, str], dict[str, str]]:
    with TABLE.open(encoding="utf-8", newline="") as file:
        return {(row["estimand"], row["blocks"]): row for row in csv.DictReader(file)}
