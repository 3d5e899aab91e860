"""Diffusion time estimates the density ratio that it names, with noise of the covariance that it names.

On Gaussian data its order of patches is that of the exact likelihood ratio; one level and a hinge set far patches
apart. It draws nothing at test, so that a score depends on the image alone, and a run of it is a run like any other.
"""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import spearmanr
from scoring import features, keyed
from torch import Tensor

from diffect.cli.main import main
from diffect.denoisers.learned import NoDenoiser
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.objective import TrainingNoise
from diffect.scorers.diffusion_time import MARGIN, DiffusionTime
from diffect.training.load import load

CHANNELS, LEVELS = 4, (0.0, 2.0)
MIXING = torch.tensor([[1.0, 0, 0, 0], [0.8, 0.6, 0, 0], [-0.5, 0.5, 0.7, 0], [0.3, 0.3, 0.3, 0.2]])
MEAN = torch.tensor([0.5, -1.0, 0.0, 2.0])


def made(**arguments: Any) -> DiffusionTime:
    torch.manual_seed(0)
    return DiffusionTime([3, 1], **arguments)


def gaussian(count: int, seed: int) -> Tensor:
    """x0 (count, 4, 8, 8) ~ N(MEAN, MIXING MIXING^T) at every position."""
    return torch.einsum("dc,bchw->bdhw", MIXING, features(count, seed=seed)) + MEAN[:, None, None]


def noise(x0: Tensor, seed: int) -> TrainingNoise:
    ones = torch.ones(len(x0))
    generator = torch.Generator().manual_seed(seed)
    return TrainingNoise(ones, torch.randn(x0.shape, generator=generator), ones, ones)


def learned(steps: int = 500, rate: float = 1e-2, **arguments: Any) -> DiffusionTime:
    """A scorer trained on Gaussian patches."""
    scorer = made(width=64, **arguments).train()
    optimizer = torch.optim.AdamW(scorer.parameters(), lr=rate)
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        x0 = gaussian(8, seed=1000 + step)
        optimizer.zero_grad()
        scorer.loss(x0, None, noise(x0, seed=step)).mean().backward()
        optimizer.step()
    return scorer.eval()


@torch.no_grad()
def judged(scorer: DiffusionTime, x0: Tensor) -> Tensor:
    components = scorer(NoDenoiser((CHANNELS, 8, 8)), x0, None, keyed(len(x0)))
    assert components.shape == (len(x0), 1, *x0.shape[2:])
    return components


def exact(x0: Tensor, shape: Tensor) -> Tensor:
    """log(mean_k p_k / p_0) of Gaussian patches with noise of covariance `shape` (C, C), float64: (B, 1, h, w)."""
    flat, covariance = x0.movedim(1, -1).double(), (MIXING @ MIXING.T).double()

    def log_density(added: float) -> Tensor:
        law = torch.distributions.MultivariateNormal(MEAN.double(), covariance + added * shape.double())
        return law.log_prob(flat)

    noisy = torch.stack([log_density(math.exp(-level)) for level in LEVELS])
    return (noisy.logsumexp(0) - math.log(len(LEVELS)) - log_density(0))[:, None]


# Theory


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["isotropic", "covariance"])
def test_patches_are_ordered_as_by_the_exact_likelihood_ratio(kind: Any) -> None:
    scorer = learned(levels=LEVELS, noise=kind)
    shape = torch.eye(CHANNELS) if kind == "isotropic" else MIXING @ MIXING.T
    x0 = gaussian(16, seed=1)
    x0[8:] += 0.5 * torch.einsum("dc,bchw->bdhw", MIXING, features(8, seed=2))  # some of them less than normal
    estimate, truth = judged(scorer, x0).flatten(), exact(x0, shape).flatten()
    assert spearmanr(estimate, truth).statistic > 0.95
    assert (estimate - truth).abs().median() < 0.25  # nats: the ratio itself, not only its order


@pytest.mark.slow
def test_a_hinge_at_one_level_sets_far_patches_apart() -> None:
    scorer = learned(rate=3e-3, levels=[0.0], criterion="hinge", noise="isotropic", adaptor=True, depth=1)
    normal, far = judged(scorer, gaussian(8, seed=1)), judged(scorer, gaussian(8, seed=1) + 4)
    assert far.quantile(0.05) > normal.quantile(0.95)
    assert normal.median() < -MARGIN < MARGIN < far.median()


def test_noise_gets_the_covariance_of_the_training_patches() -> None:
    scorer = made(noise="covariance").train()
    for seed in range(20):
        x0 = gaussian(16, seed=seed)
        scorer.loss(x0, None, noise(x0, seed))
    root = scorer._root()
    assert torch.allclose(root @ root.T, (MIXING @ MIXING.T).double(), atol=0.04)
    assert torch.equal(root, root.tril())
    before = scorer.moments.count
    scorer.eval().loss(x0, None, noise(x0, 0))  # what selection sees is not counted
    assert scorer.moments.count == before == 20 * 16 * 64


def test_the_losses_at_the_start_are_those_of_knowing_the_prior_alone() -> None:
    x0 = gaussian(3, seed=0)
    for arguments, expected in (
        ({"levels": (0.0, 1.0, 2.0)}, math.log(2) + math.log(6)),
        ({"levels": [1.0], "criterion": "hinge", "noise": "isotropic"}, 2 * MARGIN),
    ):
        losses = made(**arguments).loss(x0, None, noise(x0, 0))
        assert losses.shape == (3,) and torch.allclose(losses, torch.tensor(expected), atol=1e-6)


# What every scorer keeps to


def test_an_image_has_the_same_score_in_any_batch() -> None:
    scorer = learned(steps=20)
    x0 = features(6, height=5, width=9)
    together = judged(scorer, x0)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    assert torch.allclose(judged(scorer, x0[order]), together[order], atol=1e-5)
    assert torch.allclose(torch.cat([judged(scorer, one[None]) for one in x0]), together, atol=1e-5)
    other = scorer(NoDenoiser((CHANNELS, 5, 9)), x0, None, ImageNoise(9, torch.arange(6)))
    assert torch.equal(other, together)  # no noise is drawn


def test_levels_are_no_concern_of_the_schedule() -> None:
    made(levels=[12.0]).check(NoDenoiser((CHANNELS, 8, 8)), -5.0, 7.0)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"criterion": "hinge"}, r"scorer\.criterion=hinge takes one level; scorer\.levels is \("),
        ({"criterion": "logistic"}, "DiffusionTime.criterion is 'logistic'; it must be cross_entropy or hinge"),
        ({"levels": []}, r"DiffusionTime.levels is \[\]; it must be a list of log-SNRs"),
        ({"noise": "white"}, "DiffusionTime.noise is 'white'; it must be isotropic or covariance"),
        ({"adaptor": True, "noise": "covariance"}, "scorer.adaptor=true needs scorer.noise=isotropic"),
        ({"depth": 0}, "DiffusionTime.depth is 0; it must be a whole number, 1 or more"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        DiffusionTime([3, 1], **arguments)


# Runs

SMALL = (
    "denoiser=none",
    "data.category=brick",
    "data.size=64",
    "scorer.width=32",
    "training.steps=8",
    "training.validate_every=4",
    "training.warmup=2",
    "evaluation.replicates=5",
    "evaluation.latency_repeats=1",
    "panel=0",
)


@pytest.mark.slow
@pytest.mark.parametrize(("scorer", "noise"), [("diffusion_time", "covariance"), ("simplenet", "isotropic")])
def test_a_run_trains_it_in_the_denoisers_place(
    scorer: str, noise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *SMALL, f"scorer={scorer}", f"scorer.noise={noise}"]) == 0
    (path,) = tmp_path.glob("outputs/*/*/record.json")
    record = json.loads(path.read_text())
    assert record["training"]["loss_best"] < record["training"]["loss_initial"]
    predictor = load(path.parent).predictor
    kept = predictor.scorer
    assert noise == "isotropic" or kept.moments.count == 8 * 8 * 8 * 8  # steps, images, cells


@pytest.mark.slow
def test_with_a_denoiser_it_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["train", *SMALL[1:], "scorer=diffusion_time", "denoiser=gaussian"]) == 1
    assert "the scorer DiffusionTime is trained itself: set denoiser=none" in capsys.readouterr().err
