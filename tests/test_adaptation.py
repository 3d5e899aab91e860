"""start= goes on from another run's network: the same weights, a name of its own, and a sentence where it cannot."""

from pathlib import Path
from typing import Any

import pytest
import torch

from diffect import assembly, checkpoints
from diffect.__main__ import main
from diffect.runs import record as records

SMALL = ["training.steps=2", "training.validate_every=1", "training.warmup=0", "backbone.blocks=[4]", "denoiser=conv"]
SMALL += ["denoiser.network.width=16", "denoiser.network.depth=1", "panel=0", "gallery=0", "evaluation.replicates=0"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run on brick."""
    folder = tmp_path_factory.mktemp("source")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", *SMALL, "data.category=brick"]) == 0
    (run,) = (folder / "outputs" / "single").iterdir()
    return run


def train(*overrides: str) -> dict[str, Any]:
    before = set(Path("outputs/single").glob("*/record.json"))
    assert main(["train", *SMALL, "data.category=grass", *overrides]) == 0
    (found,) = set(Path("outputs/single").glob("*/record.json")) - before
    return records.read(found)


def test_the_first_loss_is_that_of_the_other_runs_network(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fresh, adapted = train(), train(f"start={source}")
    assert fresh["signature"] != adapted["signature"]
    assert "start" not in fresh and adapted["start"]["categories"] == ["brick"]
    assert adapted["start"]["signature"] == source.name
    assert adapted["training"]["loss_initial"] != fresh["training"]["loss_initial"]
    moved = tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    moved.symlink_to(source)
    assert main(["train", *SMALL, "data.category=grass", f"start={moved}"]) == 0
    assert len(list(Path("outputs/single").iterdir())) == 2  # wherever it lies, it is the same run


def test_the_learner_and_its_average_have_the_weights(source: Path) -> None:
    from diffect.adaptation import start_from

    _, detector, _ = assembly.restore(source)
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.zero_()
    start_from(source, detector)
    kept = checkpoints.read(source / assembly.CHECKPOINT, "")["state"]

    assert detector.learner is not None and detector.averaged is not None
    for name, value in detector.learner.state_dict().items():
        assert torch.equal(value, kept[f"averaged.module.{name}"])
        assert torch.equal(value, detector.averaged.module.state_dict()[name])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["denoiser=gaussian"], "nothing learns by steps here"),
        (["denoiser.network.width=24"], "whose network is another one"),
    ],
)
def test_what_does_not_fit_is_refused(
    source: Path,
    overrides: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [one for one in SMALL if "denoiser" not in one] if "denoiser=gaussian" in overrides else SMALL

    assert main(["train", *given, "data.category=grass", f"start={source}", *overrides]) == 1
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("diffect train:"))
    assert said in line


def test_a_folder_that_is_no_run_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *SMALL, "data.category=grass", "start=nowhere"]) == 1
    assert "nowhere" in capsys.readouterr().err
