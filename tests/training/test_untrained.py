"""The untrained twin is the same detector before its first step; train says so where training gained nothing."""

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import OmegaConf
from records import make, record_of
from small_detector import batch, calibrate
from small_detector import make as make_detector

from diffect.cli.main import main
from diffect.cli.train import line
from diffect.data.batches import Passes
from diffect.denoisers.gaussian import Gaussian
from diffect.detector import calibration
from diffect.detector.evaluation import Tally
from diffect.detector.head import SyntheticHead
from diffect.runs import record_file
from diffect.runs.doubts import unclear_gain
from diffect.runs.record import GAINS, Record, Untrained
from diffect.training import build, untrained

SMALL = ["data.size=64", "data.category=brick", "data.source.train=40", "backbone.blocks=[4]", "panel=0", "gallery=0"]
SMALL += ["evaluation.replicates=20", "evaluation.latency_repeats=1"]
SCORER = ["detector=diffusion_time", "training.steps=8", "training.validate_every=4", "training.warmup=0"]
HELD_OUT: Any = SimpleNamespace(splits={"selection": [(0, 0)]})
CONV = ["denoiser=conv", "denoiser.network.width=16", "denoiser.network.depth=1", *SCORER[1:]]


def trained(folder: Path, *overrides: str) -> Record:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", *SMALL, "hydra.run.dir=run", *overrides]) == 0
    return record_file.read(folder / "run" / record_file.RECORD)


def of_the_initialisation(record: Record) -> Untrained:
    """What a detector that is built with the run's seed, calibrated and never trained has on the test set."""
    cfg = OmegaConf.create(record.config)
    pl.seed_everything(cfg.seed, verbose=False)
    data = build.open_data(cfg)
    representation = build.attach_features(cfg, data)
    representation.fit(data.fit_features())
    predictor = build.build(cfg, data.categories, data.blank(), representation, "untrained").predictor.eval()
    with torch.no_grad():
        predictor.scorer.fit(predictor.denoiser, Passes(data.val_dataloader(), predictor.encode))
        calibration.calibrate(predictor, data)
        tally = Tally(predictor, data.categories, cfg.evaluation.replicates)
        for tested in data.test_dataloader():
            tally.update(tested)
    (evaluation,) = tally.evaluations()
    return Untrained(
        metrics={name: value for name, value in evaluation.metrics.items() if value is not None},
        intervals={name: ends for name, ends in evaluation.intervals.items() if ends is not None},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "overrides",
    [CONV, [*CONV, "scorer=inversion"], SCORER],
    ids=["denoiser", "fitted scorer", "scorer that learns"],
)
def test_the_twin_scores_as_a_detector_of_the_same_seed_that_is_not_trained(
    tmp_path: Path, overrides: list[str]
) -> None:
    record = trained(tmp_path, *overrides, "training.learning_rate=0.1")
    result = record.results["brick"]
    assert result.untrained == of_the_initialisation(record)
    assert result.untrained is not None
    for name, gain in GAINS.items():
        assert result.metrics[gain] == result.metrics[name] - result.untrained.metrics[name]
        assert len(result.replicates[gain]) == 20 and gain in result.intervals
    assert any(result.metrics[gain] != 0 for gain in GAINS.values())


@pytest.mark.slow
def test_train_warns_where_nothing_is_learned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = trained(tmp_path, *CONV, "training.learning_rate=1e-12")
    assert abs(record.results["brick"].metrics["image_auroc_gain"]) < 1e-3
    said = capsys.readouterr().out
    assert "warning: training may have added nothing: AUROC gain over untrained +0.000 (95% interval" in said
    assert line(record).endswith(" s  no clear gain over untrained on brick")  # what a sweep prints


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [["denoiser=gaussian"], [*CONV, "evaluation.untrained=false"]])
def test_without_steps_or_on_demand_there_is_no_twin(
    tmp_path: Path, overrides: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    result = trained(tmp_path, *overrides).results["brick"]
    assert result.untrained is None and set(GAINS.values()).isdisjoint(result.metrics)
    assert "over untrained" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_twin_of_a_finetuned_run_is_its_start(tmp_path: Path) -> None:
    """Its representation is fitted to the same images, so the start scores as the finished run that it comes from."""
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    first = trained(tmp_path / "first", *CONV)
    second = trained(tmp_path / "second", *CONV, f"finetune_from={tmp_path}/first/run", "training.learning_rate=0.1")
    twin = second.results["brick"].untrained
    assert twin is not None
    for name in GAINS:
        assert twin.metrics[name] == pytest.approx(first.results["brick"].metrics[name], abs=1e-9)


def test_a_twin_keeps_its_weights_and_shares_what_is_not_trained_by_steps() -> None:
    detector = make_detector()
    twin = untrained.twin(detector, HELD_OUT)
    assert twin is not None and twin.representation is detector.predictor.representation
    before = copy.deepcopy(twin.denoiser.state_dict())
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.add_(1.0)
    calibrate(detector, [batch(12, seed=4)])
    assert all(torch.equal(value, before[name]) for name, value in twin.denoiser.state_dict().items())
    assert (twin.anomaly_map.scale == 1).all() and not (detector.predictor.anomaly_map.scale == 1).all()
    assert {name.partition(".")[0] for name in detector.state_dict()} == {"learner", "averaged", "predictor"}


def test_a_head_on_a_closed_form_has_a_twin_with_the_same_closed_form() -> None:
    closed = Gaussian((3, 8, 8))
    assert untrained.twin(make_detector(denoiser=closed), HELD_OUT) is None
    head = SyntheticHead(components=2, channels=3)
    detector = make_detector(denoiser=closed, head=head)
    twin = untrained.twin(detector, HELD_OUT)
    assert twin is not None and twin.denoiser is closed and twin.head is not head
    few: Any = SimpleNamespace(splits={"selection": []})
    assert untrained.twin(detector, few) is None


def test_the_warning_counts_intervals_and_without_one_the_gain_itself() -> None:
    def said(gain: float, interval: tuple[float, float] | None) -> str:
        flat = make()
        flat["metrics"]["brick"]["image_auroc_gain"] = gain
        if interval:
            flat["intervals"]["brick"]["image_auroc_gain"] = interval
        return unclear_gain(record_of(flat), "brick")

    assert said(0.05, (0.01, 0.09)) == said(0.05, None) == ""
    assert said(0.05, (-0.01, 0.11)) == (
        "training may have added nothing: AUROC gain over untrained +0.050 (95% interval -0.010 to +0.110)"
    )
    assert said(-0.05, None) == "training may have added nothing: AUROC gain over untrained -0.050"
    with pytest.raises(ValueError, match=r"image_auroc_gain is -1\.5; allowed: from -1 to 1"):
        said(-1.5, None)
