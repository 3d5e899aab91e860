"""The committed figures of experiments/statistics: promises kept, the package's table the same, made anew alike."""

import csv
import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from diffect.runs.coverage import TABLE

FOLDER = Path(__file__).parents[2] / "experiments" / "statistics"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("simulate", FOLDER / "simulate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def share(what: str, estimand: str, categories: int, seeds: int) -> float:
    place = {"what": what, "estimand": estimand, "categories": str(categories), "seeds": str(seeds)}
    (row,) = (row for row in read(FOLDER / "simulation.csv") if place.items() <= row.items())
    return float(row["share"])


def test_what_is_promised_is_kept() -> None:
    rows = read(FOLDER / "simulation.csv")
    promised = [row for row in rows if row["promised_high"]]
    assert len(promised) > 30 and {row["kept"] for row in promised} == {"true"}
    assert {int(row["studies"]) for row in rows} == {10_000}
    covered = [row for row in promised if row["quantity"] == "coverage"]
    assert len(covered) == 10 and all(0.93 <= float(row["share"]) <= 0.97 for row in covered)
    approximate = [row for row in promised if row["what"].startswith("Friedman")]
    assert len(approximate) == 5 and all(0.04 <= float(row["share"]) <= 0.06 for row in approximate)


def test_known_failures_are_seen_to_fail() -> None:
    assert share("percentile bootstrap of categories and seeds", "random", 3, 2) < 0.82
    assert share("percentile bootstrap of categories and seeds", "random", 15, 3) < 0.94
    assert share("permutation of category x seed", "random", 15, 3) > 0.2
    assert share("permutation of seeds claimed for other images", "fixed", 3, 10) > 0.5


def test_the_package_carries_the_same_figures() -> None:
    simulate = script()
    rows: list[dict[str, Any]] = [
        {**row, "categories": int(row["categories"]), "seeds": int(row["seeds"]), "share": float(row["share"])}
        for row in read(FOLDER / "simulation.csv")
    ]
    expected = [{key: str(value) for key, value in line.items()} for line in simulate.achieved(rows)]
    assert read(TABLE) == expected


def assert_agreement(made: Path, errors: float) -> None:
    """The figures in `made` are the committed ones, within five standard errors of the difference."""
    for new, old in zip(read(made / "simulation.csv"), read(FOLDER / "simulation.csv"), strict=True):
        assert new["what"] == old["what"]
        allowed = 5 * errors * max(float(old["standard_error"]), 0.001)
        assert float(new["share"]) == pytest.approx(float(old["share"]), abs=allowed), old


@pytest.mark.slow
def test_a_few_of_the_studies_agree_with_the_committed_figures(tmp_path: Path) -> None:
    script().main([f"out={tmp_path}", "studies=50"])
    assert_agreement(tmp_path, 201**0.5)  # variances of 10,000 and of 50 studies


@pytest.mark.long
def test_made_anew_the_figures_are_the_same(tmp_path: Path) -> None:
    """Four minutes; another version of numpy may draw other numbers."""
    script().main([f"out={tmp_path}"])
    assert_agreement(tmp_path, 2**0.5)
    assert {row["kept"] for row in read(tmp_path / "simulation.csv") if row["promised_high"]} == {"true"}
