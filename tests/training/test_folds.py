"""Runs whose fit images are scored by fits to the others: always where all is solved at once, else if asked."""

from pathlib import Path
from typing import Any

import pytest

from diffect.cli.main import main
from diffect.runs import record_file
from diffect.storage import checkpoints

SMALL = [
    *("data.category=brick", "data.size=32", "representation=pixels", "data.shots=30", "data.groups=none"),
    *("evaluation.latency_repeats=1", "evaluation.replicates=20", "panel=0", "gallery=0", "hydra.run.dir=run"),
]
LEARNED = ["denoiser=mlp", "denoiser.network.width=8", "training.steps=2", "training.validate_every=1"]
SOLVED = ["denoiser=gaussian", "denoiser.covariance=shared"]


def scores(folder: Path) -> list[float]:
    """Those that set the threshold of a run in `folder`."""
    kept: dict[str, Any] = checkpoints.read(folder / "run" / record_file.CHECKPOINT, "")
    (calibration,) = kept["calibrations"]
    return list(calibration["scores"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chosen", "folds"),
    [(SOLVED, 5), ([*SOLVED, "evaluation.folds=2"], 2), (LEARNED, 0), ([*LEARNED, "evaluation.folds=2"], 2)],
)
def test_the_threshold_rests_on_all_images_that_some_fit_has_not_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: list[str], folds: int
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *SMALL, *chosen]) == 0
    record = record_file.read(tmp_path / "run" / record_file.RECORD)
    split = record.splits.categories["brick"]
    assert len(scores(tmp_path)) == split.calibration + split.fit * (folds > 0)
    assert (record.protocol.threshold.startswith("held-out")) == (folds > 0)
    if folds:
        assert f"scored by a fit without its fold of {folds} " in record.protocol.threshold
        assert record.results["brick"].metrics["conformal_fpr"] is not None
    else:
        few = "no threshold: 7 calibration images can promise a false-positive rate of 12.5% or more, not 5%"
        assert record.results["brick"].undefined["conformal_fpr"] == few
    assert record.seconds["folds"] >= 0 and not (tmp_path / "run" / record_file.RESUME).exists()


@pytest.mark.parametrize("number", ["1", "0", "two"])
def test_a_number_of_folds_below_two_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *SMALL, f"evaluation.folds={number}"]) == 1
    assert "it must be a whole number, 2 or more or null" in capsys.readouterr().err and not Path("run").exists()


@pytest.mark.slow
def test_more_folds_than_groups_are_refused_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *SMALL, *LEARNED, "training.steps=100000", "evaluation.folds=99"]) == 1
    assert "evaluation.folds is 99, but category brick has 20 groups of images to fit to" in capsys.readouterr().err
