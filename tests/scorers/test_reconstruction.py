"""Reconstruction agrees with theory on Gaussian data, its distances with scikit-image or what is written by hand."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from gaussian import Gaussian
from scoring import always, denoiser, features, keyed, within_4_standard_errors
from skimage.metrics import structural_similarity

from diffect.scorers.reconstruction import Reconstruction

DISTANCES = ("l1", "l2", "cosine", "ssim")


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_the_reconstruction_error_agrees_with_theory(steps: int) -> None:
    data, start, stop = Gaussian.anisotropic(), -1.0, 5.0
    scorer = Reconstruction([4], start, stop, steps, "l2", draws=2)
    levels = [start] if steps == 1 else np.linspace(start, stop, steps).tolist()
    assert scorer.levels == pytest.approx(levels)
    factor = torch.ones(4, dtype=torch.float64)  # of x_t - alpha mu, as in the tests of DDIM
    for here, there in zip(levels, [*levels[1:], math.inf], strict=True):
        alpha, sigma, alpha_next, sigma_next = (
            torch.sigmoid(torch.tensor(x, dtype=torch.float64)).sqrt() for x in (here, -here, there, -there)
        )
        gain = data.gain(torch.tensor([here], dtype=torch.float64))[0]
        factor = factor * (alpha_next * gain + sigma_next * (1 - alpha * gain) / sigma)
    at = torch.tensor(start, dtype=torch.float64)
    alpha, sigma2 = torch.sigmoid(at).sqrt(), torch.sigmoid(-at)
    expected = ((1 - factor * alpha) ** 2 * data.s**2 + factor**2 * sigma2).mean().item()
    found = scorer(data, data.sample(200, 6, seed=2), None, keyed(200))
    assert within_4_standard_errors(found.mean((1, 2, 3)), expected)


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("steps", [1, 4])
def test_a_perfect_reconstruction_has_no_distance(name: str, steps: int) -> None:
    x0 = features(2, 16, 16)
    found = Reconstruction([4], steps=steps, distance=name)(always(x0), x0, None, keyed(2))
    assert found.abs().max() < 2e-6


def test_l1_l2_and_cosine_are_taken_over_channels() -> None:
    x0, other = features(2), features(2, seed=1)
    a, b = x0.numpy().astype(float), other.numpy().astype(float)
    norms = np.sqrt((a**2).sum(1)) * np.sqrt((b**2).sum(1))
    expected = {
        "l1": np.abs(a - b).mean(1),
        "l2": ((a - b) ** 2).mean(1),
        "cosine": 1 - (a * b).sum(1) / norms,
    }
    for name, by_hand in expected.items():
        found = Reconstruction([4], steps=2, distance=name)(always(other), x0, None, keyed(2))
        assert np.abs(found[:, 0].numpy() - by_hand).max() < 1e-5, name


@pytest.mark.parametrize("sides", [(32, 32), (20, 33)])
def test_ssim_equals_scikit_image_away_from_the_borders(sides: tuple[int, int]) -> None:
    x0 = features(2, *sides)
    other = 0.6 * x0 + 0.5 * features(2, *sides, seed=1) + 0.3
    found = Reconstruction([4], steps=1, distance="ssim")(always(other), x0, None, keyed(2))[:, 0]
    for ours, a, b in zip(found, x0, other, strict=True):
        options: dict[str, Any] = {"win_size": 11, "data_range": 6.0, "use_sample_covariance": False, "full": True}
        maps = [structural_similarity(x.numpy(), y.numpy(), **options)[1] for x, y in zip(a, b, strict=True)]
        expected = 1 - np.mean(maps, 0)
        assert np.abs(ours.numpy() - expected)[5:-5, 5:-5].max() < 1e-5


def test_ssim_works_on_a_grid_smaller_than_its_window() -> None:
    for sides in ((3, 3), (4, 4), (8, 8), (4, 30), (12, 2)):
        x0 = features(1, *sides)
        found = Reconstruction([4], steps=1, distance="ssim")(always(-x0), x0, None, keyed(1))
        assert found.shape == (1, 1, *sides) and ((found > 0) & (found < 2)).all()


@pytest.mark.parametrize("kind", ["oracle", "conv", "wiener", "stored"])
@torch.no_grad()
def test_guidance_brings_the_reconstruction_nearer_to_the_image(kind: str) -> None:
    model = Gaussian.anisotropic() if kind == "oracle" else denoiser(kind)
    x0, label = features(4) + 2, torch.tensor([0, 1, 2, 1])
    distances = [
        Reconstruction([4], steps=4, guidance=guidance, draws=2)(model, x0, label, keyed(4)).mean().item()
        for guidance in (0.0, 0.3, 0.9)
    ]
    assert distances[0] > 1.1 * distances[1] > 1.1 * distances[2]


def test_the_distance_is_that_to_the_reconstruction() -> None:
    data, x0, noise = Gaussian.anisotropic(), features(2), keyed(2)
    scorer = Reconstruction([4], steps=4)
    rebuilt = scorer.reconstruct(data, x0, None, noise)
    assert torch.equal(scorer(data, x0, None, noise)[:, 0], (x0 - rebuilt).square().mean(1))
    assert not torch.equal(rebuilt, scorer.reconstruct(data, x0, None, noise, draw=1))
