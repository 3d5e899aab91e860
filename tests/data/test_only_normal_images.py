"""A detector is trained, calibrated and used where the test set is empty, or lacks normal or defective images."""

from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import picture, save

from diffect.cli.main import main
from diffect.runs.record_file import read

Make = Callable[..., Path]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("good", "defective", "note", "undefined"),
    [
        (0, 0, "no test images: nothing is tested", "no test images"),
        (3, 0, "no defective test images: no detection metrics", "the test set holds no defective image"),
        (0, 3, "no normal test images: no detection metrics", "the test set holds no normal image"),
    ],
)
def test_what_was_not_tested_is_said(
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    good: int,
    defective: int,
    note: str,
    undefined: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    chosen = ["representation=pixels", "denoiser=gaussian", "data.size=32", "evaluation.conformal_rate=0.2"]
    chosen += ["evaluation.latency_repeats=1", "evaluation.replicates=20", "evaluation.folds=2", "hydra.run.dir=run"]
    root = make(train=24, good=good, defective=defective)
    assert main(["train", "data=mvtec", f"data.root={root}", *chosen]) == 0
    said = capsys.readouterr().out
    assert f"note: {note}" in said and undefined in said
    record = read(tmp_path / "run/record.json")
    assert record.splits.categories["part"].notes == [note]
    assert record.results["part"].undefined["image_auroc"] == undefined
    assert (
        record.results["part"].metrics["latency_ms"] is not None and record.splits.categories["part"].calibration == 6
    )
    save(tmp_path / "new/a.png", picture(900))
    assert main(["score", "run=run", "images=new"]) == 0
    assert "1 image scored, " in capsys.readouterr().out
    if not good + defective:
        assert main(["score", "run=run"]) == 1
        assert "the run has no test images: give images=" in capsys.readouterr().err
