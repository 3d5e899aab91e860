"""finetune_from= goes on from another run's network: the same weights, its own name, a sentence where it cannot."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from configs import composed
from omegaconf import OmegaConf

from diffect.cli.main import main
from diffect.data.batches import zeros
from diffect.data.sample import IMAGE
from diffect.runs import record_file
from diffect.storage import checkpoints
from diffect.training import build

pytestmark = pytest.mark.slow

SMALL = ["data.size=64", "++data.source.train=40", "++data.source.good=6", "++data.source.defective=2"]
SMALL += ["training.steps=2", "training.validate_every=1", "training.warmup=0", "backbone.blocks=[4]", "denoiser=conv"]
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
    return record_file.read(found)


def test_the_first_loss_is_that_of_the_other_runs_network(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fresh, adapted = train(), train(f"finetune_from={source}")
    assert fresh.signature != adapted.signature
    assert fresh.finetuned_from is None and adapted.finetuned_from.categories == ["brick"]
    assert adapted.finetuned_from.signature == source.name
    assert adapted.training.loss_initial != fresh.training.loss_initial
    moved = tmp_path / "elsewhere" / "run"
    moved.parent.mkdir()
    moved.symlink_to(source)
    assert main(["train", *SMALL, "data.category=grass", f"finetune_from={moved}"]) == 0
    assert len(list(Path("outputs/single").iterdir())) == 2  # wherever it lies, it is the same run


def test_the_learner_and_its_average_have_the_weights(source: Path) -> None:
    from diffect.training.finetuning import start_from

    record = record_file.read(source / record_file.RECORD)
    cfg = OmegaConf.create(record.config)
    representation = build.represent(cfg, ["brick"], IMAGE)
    detector = build.build(cfg, ["brick"], zeros(IMAGE, (64, 64)), representation, record.signature)
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.zero_()
    start_from(source, detector)
    kept = checkpoints.read(source / record_file.CHECKPOINT, "")["state"]

    assert detector.learner is not None and detector.averaged is not None
    for name, value in detector.learner.state_dict().items():
        assert torch.equal(value, kept[f"denoiser.{name}"])
        assert torch.equal(value, detector.averaged.module.state_dict()[name])


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["denoiser=gaussian"], "finetune_from changes no score of denoiser=gaussian, which has a closed form"),
        (["denoiser=none", "scorer=diffusion_time"], "other tensors: give the same denoiser"),
        (
            ["denoiser.network.width=24"],
            "whose settings differ: denoiser.network.width is 16 there and 24 here; it must be",
        ),
        (
            ["denoiser.prediction=x0"],
            "whose settings differ: denoiser.prediction is v there and x0 here; it must be the same",
        ),
        (["backbone.blocks=[5]"], "whose settings differ: backbone.blocks is [4] there and [5] here"),
        (
            ["representation.scaling=standard"],
            "whose settings differ: representation.scaling is whitened there and standard",
        ),
        (
            ["representation.statistics=cell"],
            "whose settings differ: representation.statistics is shared there and cell here",
        ),
        (
            ["representation.exposure=none"],
            "whose settings differ: representation.exposure is level there and none here",
        ),
        (["representation.grid=16"], "whose settings differ: representation.grid is null there and 16 here"),
        (["data.category=[brick,grass]"], "whose network has other tensors: give the same denoiser"),
    ],
)
def test_what_does_not_fit_is_refused(
    source: Path, overrides: list[str], said: str, refused: Callable[..., str]
) -> None:
    given = [one for one in SMALL if "denoiser" not in one] if overrides[0].startswith("denoiser=") else SMALL
    given = [one for one in given if "training" not in one] if overrides == ["denoiser=gaussian"] else given
    assert said in refused("train", *given, "data.category=grass", f"finetune_from={source}", *overrides)


def test_what_may_differ_is_no_reason_to_refuse(source: Path) -> None:
    from diffect.training.finetuning import check

    free = [
        "denoiser.guidance=0.5",
        "denoiser.label_dropout=0.2",
        "conditional=false",
        "schedule=linear",
        "data.size=96",
    ]
    free += ["scorer=reconstruction", "anomaly_map=max", "training.learning_rate=1e-2", "weight=eps", "head=synthetic"]
    check(composed("train", *SMALL, *free, f"finetune_from={source}"))
    check(composed("train", *SMALL))


def test_where_the_scorer_is_what_learns_its_settings_count(source: Path, tmp_path: Path) -> None:
    from diffect.training.finetuning import check

    judged = ["denoiser=none", "scorer=diffusion_time"]
    record = record_file.read(source / record_file.RECORD)
    record.config = OmegaConf.to_container(composed("train", *judged), resolve=True)
    record_file.write(tmp_path, record)
    check(composed("train", *judged, f"finetune_from={tmp_path}"))
    with pytest.raises(ValueError, match=r"scorer\.levels is \[0\.0, 1\.5, 3\.0, 4\.5\] there and \[0, 1, 3, 4\] here"):
        check(composed("train", *judged, "scorer.levels=[0,1,3,4]", f"finetune_from={tmp_path}"))


@pytest.mark.parametrize(
    ("start", "said"),
    [
        ("nowhere", "finetune_from is nowhere, which is not a folder; it must be the folder of a finished run"),
        ("5", "finetune_from is 5, which is not a folder"),
        ("empty", "finetune_from is empty, which has no record.json; it must be the folder of a finished run"),
        ("foreign", "foreign/record.json has format None, of another version of diffect"),
        ("broken", "the record broken/record.json is corrupt: "),
        ("failed", "finetune_from is failed, which is a run that is failed; it must be the folder of a finished run"),
    ],
)
def test_a_folder_that_is_no_finished_run_is_named(
    start: str, said: str, source: Path, refused: Callable[..., str]
) -> None:
    text = (source / record_file.RECORD).read_text()
    held = {"foreign": '{"a": 1}', "broken": text[:99], "failed": text.replace('"finished"', '"failed"', 1)}
    for name in ("empty", *held):
        Path(name).mkdir()
        if name in held:
            Path(name, record_file.RECORD).write_text(held[name])
    assert refused("train", *SMALL, "data.category=grass", f"finetune_from={start}").startswith(said)


def test_a_run_without_its_weights_is_named_by_the_key(source: Path, refused: Callable[..., str]) -> None:
    Path("bare").mkdir()
    Path("bare", record_file.RECORD).write_bytes((source / record_file.RECORD).read_bytes())
    said = refused("train", *SMALL, "data.category=grass", "finetune_from=bare")
    assert said.startswith("finetune_from is bare: there is no bare/checkpoint.pt;")
