"""The module averages weights by its formula, calibrates, tests, and trusts no checkpoint.

A checkpoint that carries a pickle is refused without executing it; one of another configuration is refused by name;
a resumed fit equals the straight one; a loss that is no number stops training with its step and log-SNR.
"""

import pickle
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf
from small_detector import SIZE, batch, calibrated, make, rows
from torch import Tensor, nn
from torch.utils.data import DataLoader

from diffect.data.batches import Batch
from diffect.denoisers.base import Denoiser, Learner, Network
from diffect.denoisers.gaussian import Gaussian
from diffect.denoisers.learned import NoDenoiser
from diffect.detector.calibration import Calibration, calibrations
from diffect.detector.module import DetectorModule
from diffect.detector.optimisation import Optimisation
from diffect.detector.predictor import Prediction
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.objective import denoising_loss
from diffect.runs.record import Training
from diffect.scorers.base import Scorer
from diffect.training import recording
from diffect.training.build import check_one_learns
from diffect.training.fit import fit


class Data(pl.LightningDataModule):
    """Two training batches an epoch and one selection batch, the same in every epoch."""

    def __init__(self, selection: bool = True) -> None:
        super().__init__()
        self.splits = {"selection": [(0, 0)] if selection else []}

    def train_dataloader(self) -> Any:
        return DataLoader([batch(seed=1), batch(seed=2)], batch_size=None)

    def fit_dataloader(self) -> Any:
        return self.train_dataloader()

    def val_dataloader(self) -> Any:
        return DataLoader([batch(seed=3)] if self.splits["selection"] else [], batch_size=None)


def config(steps: int) -> DictConfig:
    return OmegaConf.create(
        {
            "trainer": {
                "_target_": "pytorch_lightning.Trainer",
                "accelerator": "cpu",
                "devices": 1,
                "max_steps": steps,
                "enable_model_summary": False,
                "log_every_n_steps": 1,
                "barebones": False,
            }
        }
    )


@pytest.fixture(autouse=True)
def _quiet(recwarn: pytest.WarningsRecorder) -> None:
    """Lightning advises about workers and folders; that is no concern here."""


def train(detector: DetectorModule, folder: Path, steps: int, selection: bool = True) -> None:
    fit(config(steps), detector, Data(selection), None, folder / "resume")  # type: ignore[arg-type]


# Optimisation


def test_the_average_forgets_the_start_and_then_decays_by_ema() -> None:
    detector = make(optimisation=Optimisation(steps=100, ema=0.7))
    (current, *_), (averaged, *_) = detector.learner.parameters(), detector.averaged.module.parameters()
    expected = None
    generator = torch.Generator().manual_seed(0)
    for count in range(40):
        with torch.no_grad():
            current.copy_(torch.randn(current.shape, generator=generator))
        detector.on_train_batch_end()
        if expected is None:  # the first step replaces the initialisation
            expected = current.detach().double().clone()
        else:
            decay = min(0.7, (1 + count) / (10 + count))
            expected = decay * expected + (1 - decay) * current.detach().double()
        assert torch.allclose(averaged.double(), expected, atol=1e-5), count
    assert (1 + 40) / (10 + 40) > 0.7 > 2 / 11  # both branches were met
    assert not averaged.requires_grad and current.requires_grad


def test_the_rate_warms_up_linearly_and_falls_to_zero_as_a_cosine() -> None:
    how = Optimisation(steps=100, warmup=10)
    assert [how.rate(step) for step in (0, 4, 9)] == pytest.approx([0.1, 0.5, 1.0])
    assert how.rate(10) == 1 and how.rate(55) == pytest.approx(0.5) and how.rate(100) == pytest.approx(0)
    falling = [how.rate(step) for step in range(10, 101)]
    assert falling == sorted(falling, reverse=True)
    assert Optimisation(steps=3, warmup=0).rate(0) == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": 0}, r"steps is 0; it must be a whole number, 1 or more"),
        ({"steps": 5, "learning_rate": 0.0}, r"learning_rate is 0"),
        ({"steps": 5, "ema": 1.0}, r"ema is 1"),
    ],
    ids=str,
)
def test_bad_settings_are_refused_with_a_sentence(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Optimisation(**settings)


# Training


class Broken(Network):
    """A network whose third answer is not a number."""

    def __init__(self, shape: tuple[int, int, int], classes: int, outputs: int, value: float = float("nan")) -> None:
        super().__init__()
        self.weight, self.calls, self.value = nn.Parameter(torch.zeros(1)), 0, value

    def forward(self, x: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor:
        if torch.is_grad_enabled():
            self.calls += 1
        out = x * self.weight
        return out * self.value if self.calls == 3 else out


@pytest.mark.parametrize("value", ["nan", "inf"])
def test_a_loss_that_is_no_number_stops_with_step_and_log_snr(tmp_path: Path, value: str) -> None:
    detector = make(lambda **k: Broken(**k, value=float(value)))
    nn.init.ones_(detector.learner.network.weight)  # type: ignore[arg-type, union-attr]
    message = rf"the loss became {value} at step 2, log-SNR -?\d+\.\d\d: lower training\.learning_rate"
    with pytest.raises(ValueError, match=message):
        train(detector, tmp_path, 8)


def grey(detector: DetectorModule) -> DetectorModule:
    """The detector for pictures whose three channels are one and the same: there is something to learn."""
    detector.predictor.representation.encode = lambda raw, _: (raw[:, :1].expand_as(raw) - 0.5) * 3.46  # type: ignore[method-assign]
    return detector


def test_training_lowers_the_selection_loss(tmp_path: Path) -> None:
    detector = grey(make(optimisation=Optimisation(steps=60, learning_rate=1e-2, warmup=2, ema=0.5)))
    train(detector, tmp_path, 60)
    steps, losses = zip(*detector.losses, strict=True)
    assert steps == (0, *range(2, 61, 2))  # the initialisation first, then after each epoch
    assert losses[-1] < 0.7 * losses[0]


def test_the_weights_of_the_lowest_selection_loss_are_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([5.0, 4.0, 2.0, 3.0, 6.0])  # the initialisation, then four epochs
    seen: list[dict[str, Tensor]] = []

    def end(self: DetectorModule) -> None:
        loss = next(told)
        self.log("selection_loss", loss)
        self.losses.append((self.global_step, loss))
        seen.append({name: value.clone() for name, value in self.averaged.state_dict().items()})

    monkeypatch.setattr(DetectorModule, "on_validation_epoch_end", end)
    detector = grey(make())
    train(detector, tmp_path, 8)
    assert len(seen) == 5 and not torch.equal(*(seen[k]["module.network.enter.weight"] for k in (2, 4)))
    for name, value in detector.averaged.state_dict().items():
        assert torch.equal(value, seen[2][name]), name


def test_without_a_selection_set_the_last_weights_are_left(tmp_path: Path) -> None:
    detector = grey(make())
    train(detector, tmp_path, 8, selection=False)
    assert detector.losses == []
    assert int(detector.averaged.n_averaged) == 8


def test_the_selection_loss_is_the_same_for_any_batches() -> None:
    detector = make().eval()
    whole = batch(seed=3)
    losses = []
    for parts in ([range(6)], [range(2), range(2, 6)], [[5], [1, 0], [2, 4, 3]]):
        detector.on_validation_epoch_start()
        with torch.no_grad():
            for part in parts:
                detector.validation_step(rows(whole, list(part)), 0)
        losses.append(torch.cat(detector._selection).double().mean().item())
    assert losses[1:] == pytest.approx(losses[:1] * 2, rel=1e-5)


# What is solved at once


def x0_of(detector: DetectorModule, one: Batch) -> Tensor:
    return detector.predictor.representation.encode(one["raw"])


class Centre(Scorer):
    """A scorer that keeps the mean of what the denoiser makes of held-out images, and judges by the distance to it."""

    def __init__(self) -> None:
        super().__init__([3])
        self.register_buffer("mean", torch.empty(0))
        self.passes = 0

    def fit(self, denoiser: Any, batches: Any) -> None:
        for _ in range(2):
            seen = [denoiser(x0, torch.full((len(x0),), 5.0), label) for x0, label, _ in batches]
            self.passes += len(seen)
        self.mean = torch.cat(seen).mean(0)

    def forward(self, denoiser: Any, x0: Tensor, label: Any, noise: Any) -> Tensor:
        return (x0 - self.mean).square().mean(1, keepdim=True)


class Learning(Scorer, Learner):
    """A scorer that learns by steps: one number, drawn to the mean of x0."""

    def __init__(self) -> None:
        super().__init__([3])
        self.level = nn.Parameter(torch.full((1,), 3.0))

    def loss(self, x0: Tensor, label: Any, noise: Any) -> Tensor:
        return (x0 - self.level).square().flatten(1).mean(1)

    def forward(self, denoiser: Any, x0: Tensor, label: Any, noise: Any) -> Tensor:
        return (x0 - self.level).square().mean(1, keepdim=True)


def test_a_closed_form_is_solved_without_steps_and_then_the_scorer(tmp_path: Path) -> None:
    detector = make(denoiser=Gaussian((3, SIZE, SIZE), 2), scorer=Centre())
    assert detector.learner is None and detector.averaged is None
    train(detector, tmp_path, 8)
    assert not (tmp_path / "resume").exists() and isinstance(detector.predictor.denoiser, Gaussian)
    whole = torch.cat([x0_of(detector, batch(seed=seed)) for seed in (1, 2)])
    label = torch.cat([batch(seed=seed)["label"] for seed in (1, 2)])
    cells = detector.predictor.denoiser.mean[1].T.unflatten(1, (SIZE, SIZE))
    assert torch.allclose(cells, whole[label == 1].mean(0), atol=1e-5)
    held_out = batch(seed=3)  # the scorer is fitted on images that the denoiser has not seen
    rebuilt = detector.predictor.denoiser(x0_of(detector, held_out), torch.full((6,), 5.0), held_out["label"])
    scorer = detector.predictor.scorer
    assert scorer.passes == 2 and torch.allclose(scorer.mean, rebuilt.mean(0), atol=1e-5)
    # One loss, at step 0, on the noise at which learned denoisers are looked at.
    x0, label, key = x0_of(detector, batch(seed=3)), batch(seed=3)["label"], batch(seed=3)["key"]
    noises = [detector.objective.fixed(x0, ImageNoise(0, key), draw, 4) for draw in range(4)]
    wanted = (
        torch.cat([denoising_loss(detector.predictor.denoiser, x0, label, noise) for noise in noises]).mean().item()
    )
    assert detector.selection_loss([batch(seed=3)]) == pytest.approx(wanted)
    detector.losses = [(0, wanted)]
    assert recording.training(detector) == Training(loss_best=wanted, losses=[(0, wanted)])


def test_a_scorer_learns_by_steps_where_there_is_no_denoiser(tmp_path: Path) -> None:
    how = Optimisation(steps=60, learning_rate=0.2, warmup=2, ema=0.5)
    detector = make(denoiser=NoDenoiser((3, SIZE, SIZE)), scorer=Learning(), optimisation=how)
    train(detector, tmp_path, 60)
    assert detector.losses[-1][1] < 0.5 * detector.losses[0][1]
    assert detector.learned == "scorer" and "scorer.level" in detector.predictor.state_dict()
    level = detector.averaged.module.level  # type: ignore[union-attr]
    with torch.no_grad():
        detector.learner.level.fill_(100.0)  # type: ignore[attr-defined]
        expected = (x0_of(detector, batch()) - level).square().mean(1, keepdim=True)
        assert torch.allclose(detector.predictor.components(batch()), expected)  # the average judges


@pytest.mark.parametrize(
    ("denoiser", "scorer", "said"),
    [
        (Gaussian((3, SIZE, SIZE)), Learning(), "Learning is trained itself: set denoiser=none, not a Gaussian"),
        (NoDenoiser((3, SIZE, SIZE)), Centre(), "denoiser=none leaves the scorer Centre nothing to score with"),
    ],
    ids=["two that learn", "none that does"],
)
def test_denoiser_and_scorer_that_do_not_go_together(denoiser: Denoiser, scorer: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_one_learns(denoiser, scorer)


# Checkpoints


def test_a_resumed_fit_equals_the_straight_one(tmp_path: Path) -> None:
    straight, first, second = make(), make(), make()
    train(straight, tmp_path / "straight", 8)
    train(first, tmp_path / "cut", 4)  # as if it had been stopped after four steps
    train(second, tmp_path / "cut", 8)
    assert second.losses == straight.losses and [step for step, _ in second.losses] == [0, 2, 4, 6, 8]
    for name, value in straight.state_dict().items():
        assert torch.equal(second.state_dict()[name], value), name


def test_a_checkpoint_of_another_configuration_is_refused(tmp_path: Path) -> None:
    train(make(), tmp_path, 4)
    message = "the checkpoint belongs to run 0123456789ab, not to this configuration, run ba9876543210"
    with pytest.raises(ValueError, match=message):
        train(make(signature="ba9876543210"), tmp_path, 8)


class Bomb:
    """A pickle that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def spoil(path: Path, how: str, mark: Path) -> None:
    """Tamper with a checkpoint."""
    whole = path.read_bytes()
    if how == "a pickle inside":
        content = torch.load(path, weights_only=True)
        torch.save(content | {"extra": Bomb(mark)}, path)
    elif how == "a bare pickle":
        path.write_bytes(pickle.dumps(Bomb(mark)))
    elif how == "no state":
        torch.save({"state_dict": {}, "diffect": {"signature": "0123456789ab"}}, path)
    elif how == "no dictionary":
        torch.save([1, 2, 3], path)
    else:
        path.write_bytes({"empty": b"", "cut": whole[: len(whole) // 2], "text": b"not a checkpoint"}[how])


@pytest.mark.slow
@pytest.mark.parametrize("file", ["last.ckpt", "best.ckpt"])
@pytest.mark.parametrize(
    "how", ["a pickle inside", "a bare pickle", "no state", "no dictionary", "empty", "cut", "text"]
)
def test_a_tampered_checkpoint_is_refused_and_not_executed(tmp_path: Path, file: str, how: str) -> None:
    train(make(), tmp_path, 4)
    path, mark = tmp_path / "resume" / file, tmp_path / "it ran"
    assert path.is_file()
    spoil(path, how, mark)
    with pytest.raises(
        ValueError, match=rf"the checkpoint .*{file}.* (cannot be read: .+|does not fit this run); delete"
    ):
        train(make(), tmp_path, 4)  # nothing is left to train: last is resumed from, best is taken
    assert not mark.exists()


def test_a_bomb_does_go_off_where_pickles_are_loaded(tmp_path: Path) -> None:
    mark = tmp_path / "it ran"
    pickle.loads(pickle.dumps(Bomb(mark)))  # so that the test above tests something
    assert mark.exists()


# Calibration and testing


def predict(detector: DetectorModule, one: Batch) -> Prediction:
    return detector.predictor.predict_batch(one)


def test_a_p_value_counts_the_calibration_scores_that_are_as_high() -> None:
    found = Calibration([1.0, 2.0, 2.0, 3.0], [1.0] * 4, rate=0.4)
    assert [found.p_value(score) for score in (0.0, 2.0, 2.5, 9.0)] == [1.0, 0.8, 0.4, 0.2]
    assert found.threshold == 2.0 and not found.flagged(2.0) and found.flagged(2.5)
    few = Calibration([1.0], [1.0], rate=0.05)
    assert few.threshold is few.flagged(9.0) is None and few.p_value(9.0) == 0.5
    assert Calibration([], [], 0.05).p_value(1.0) is None


def test_calibration_makes_normal_maps_average_one() -> None:
    detector = calibrated()
    with torch.no_grad():
        components = detector.predictor.components(batch(12, seed=4)).double()
    assert torch.allclose(detector.predictor.anomaly_map.scale[0].double(), components.mean((0, 2, 3)), rtol=1e-5)


def test_thresholds_are_conformal_for_each_category_or_none() -> None:
    detector = calibrated()
    batches = [batch(16, seed=5), batch(16, seed=6), batch(14, seed=7)]  # 16 + 16 + 14 over two categories: 24 and 22
    with torch.no_grad():
        scores = [torch.cat([predict(detector, b).score[b["label"] == c] for b in batches]) for c in range(2)]
    assert [len(s) for s in scores] == [24, 22]
    found = calibrations(detector.predictor, batches, 2, rate=0.05)
    for one, own in zip(found, scores, strict=True):
        assert list(one.scores) == pytest.approx(own.sort().values.tolist(), rel=1e-5)
        assert one.threshold == pytest.approx(own.max().item(), rel=1e-5)  # ceil(25 * 0.95) = 24, ceil(23 * 0.95) = 22
    few = calibrations(detector.predictor, batches[:1], 2, rate=0.05)
    assert [one.threshold for one in few] == [None, None]  # 8 images cannot promise 5%


def test_outlines_are_conformal_on_the_peaks_of_maps_inside_the_image() -> None:
    detector = calibrated()
    held = batch(80, seed=5)
    held["valid"][:, :, -3:] = False
    with torch.no_grad():
        maps = predict(detector, held).map
    peaks = maps[:, :, :-3].amax((1, 2))
    batches = [rows(held, slice(0, 50)), rows(held, slice(50, 80))]
    for label, one in enumerate(calibrations(detector.predictor, batches, 2, rate=0.05)):
        own, outline = peaks[held["label"] == label], one.outline or 0.0
        assert len(own) == 40 and outline == pytest.approx(own.sort().values[38].item(), rel=1e-5)  # ceil(41 * 0.95)
        assert (own > outline * (1 + 1e-5)).float().mean() <= 0.05
    few = calibrations(detector.predictor, [rows(held, slice(0, 16))], 2, rate=0.05)
    assert [one.outline for one in few] == [None, None]


def test_the_test_set_is_counted_by_category() -> None:
    detector = calibrated()
    with torch.no_grad():
        scores = predict(detector, batch(12, seed=8)).score
        detector.test_step(rows(batch(12, seed=8), list(range(5))), 0)
        detector.test_step(rows(batch(12, seed=8), list(range(5, 12))), 1)
    labels = batch(12, seed=8)["label"]
    for category in range(2):
        own = [i for i in range(12) if labels[i] == category]
        assert list(detector.tally.scores[category]) == [100 + i for i in own]
        assert list(detector.tally.scores[category].values()) == pytest.approx(scores[own].tolist(), rel=1e-5)
    found = detector.tally.evaluations([Calibration([], [], 0.05, given=1.0)] * 2)
    anomalous = batch(12, seed=8)["anomalous"]
    for category, evaluation in enumerate(found):
        own = labels == category
        pairs = [(a, n) for a in scores[own & anomalous] for n in scores[own & ~anomalous]]
        auroc = sum(float(a > n) for a, n in pairs) / len(pairs)
        assert evaluation.metrics["image_auroc"] == pytest.approx(auroc, abs=1e-6)
        assert evaluation.metrics["conformal_fpr"] is not None


def test_training_noise_is_a_function_of_seed_and_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def loss(step: int, global_seed: int) -> float:
        detector = make()
        monkeypatch.setattr(DetectorModule, "log", lambda *_, **__: None)
        monkeypatch.setattr(DetectorModule, "global_step", step)
        torch.manual_seed(global_seed)  # no global generator plays a part
        return detector.training_step(batch(), 0).item()

    assert loss(3, 1) == loss(3, 2)
    assert len({loss(step, 1) for step in range(5)}) == 5
