"""The denoising error agrees with theory on Gaussian data, and its metric and its split by pyramid with their formulas.

Errors of the exact Gaussian denoiser lie within 4 standard errors of their closed forms.
"""

from typing import Any

import numpy as np
import pytest
import torch
from gaussian import Gaussian, wide
from scoring import always, denoiser, features, keyed, within_4_standard_errors
from torch import Tensor

from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.process import alpha_sigma
from diffect.scorers.denoising import DenoisingError


@pytest.mark.parametrize("draws", [1, 3])
def test_the_denoising_error_of_normal_data_agrees_with_theory(draws: int) -> None:
    data, levels = Gaussian.anisotropic(), (-4.0, -1.0, 1.0, 3.0, 6.0)
    x0 = data.sample(200, 6, seed=1)
    components = DenoisingError([4], levels, draws)(data, x0, None, keyed(200))
    for level, found in zip(levels, components.unbind(1), strict=True):
        # One number for each image: images are independent, the cells of one share nothing either.
        assert within_4_standard_errors(found.mean((1, 2)), data.error(level).mean().item()), level


def test_the_denoising_error_of_a_given_image_agrees_with_theory() -> None:
    data, levels = Gaussian.anisotropic(), (-1.0, 1.0, 3.0)
    odd = torch.tensor([4.0, 1.0, -3.0, 2.2], dtype=torch.float64)  # far from mu
    components = DenoisingError([4], levels, draws=4)(data, wide(odd).expand(100, 4, 6, 6), None, keyed(100))
    for level, found in zip(levels, components.unbind(1), strict=True):
        at = torch.tensor([level], dtype=torch.float64)
        alpha, sigma2, gain = torch.sigmoid(at).sqrt(), torch.sigmoid(-at), data.gain(at)[0]
        expected = ((1 - alpha * gain) ** 2 * (odd - data.mu) ** 2 + gain**2 * sigma2).mean().item()
        assert within_4_standard_errors(found.mean((1, 2)), expected), level
        assert expected > 2 * data.error(level).mean()  # and it is an anomaly


@pytest.mark.parametrize("level", [-1.0, 3.0])
def test_a_perfect_denoiser_makes_no_error(level: float) -> None:
    x0 = features(2)
    assert (DenoisingError([4], (level,))(always(x0), x0, None, keyed(2)) == 0).all()


def test_a_score_is_a_function_of_the_seed_and_draws_are_averaged() -> None:
    data, x0 = Gaussian.anisotropic(), features(2)
    one, same, other = (DenoisingError([4], (1.0,))(data, x0, None, keyed(2, seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    few, many = (DenoisingError([4], (1.0,), draws)(data, x0, None, keyed(2)) for draws in (1, 16))
    assert many.std() < few.std()


# The denoising error's variants


def test_without_noise_the_stored_patches_answer_with_the_squared_distance_to_the_nearest() -> None:
    stored, x0, label = denoiser("stored"), features(3, seed=8), torch.tensor([2, 0, 1])
    found = DenoisingError([4], (14.0,), draws=0)(stored, x0, label, keyed(3))[:, 0]
    distances = torch.cdist(x0.movedim(1, -1).flatten(0, 2).double(), stored.patches.double())
    owners = torch.arange(3).repeat_interleave(stored.sizes)
    distances[label.repeat_interleave(64)[:, None] != owners] = torch.inf  # those of other categories
    nearest = distances.amin(1).square().view(3, 8, 8) / 4
    assert (found - nearest).abs().max() < 1e-4 * nearest.mean()


@pytest.mark.parametrize("draws", [0, 1, 2])
def test_the_mahalanobis_metric_is_that_distance_of_the_residual(draws: int) -> None:
    wiener, levels = denoiser("wiener"), (0.0, 3.0)
    scorer = DenoisingError([4], levels, draws, metric="mahalanobis", shrinkage=0.2)
    # Normal images of which channels are correlated and off the mean.
    mixing = torch.tensor([[1.0, 0, 0, 0], [0.9, 0.3, 0, 0], [0, 0.5, 1, 0], [0.2, 0, 0, 0.4]])
    normal = torch.einsum("dc,bchw->bdhw", mixing, features(10, seed=3)) + 0.5
    keys, label = keyed(10).keys, torch.arange(10) % 3
    parts = [slice(0, 4), slice(4, 10)]
    scorer.fit(wiener, [(normal[part], label[part], ImageNoise(0, keys[part])) for part in parts])
    x0 = features(2, seed=4)
    found = scorer(wiener, x0, label[:2], keyed(2))

    def residuals(level: float, images: Tensor, count: int) -> list[np.ndarray[Any, Any]]:
        log_snr = torch.full((count,), level)
        alpha, sigma = alpha_sigma(log_snr, images)
        eps = [keyed(count)(images, level, draw) for draw in range(draws)] or [torch.zeros_like(images)]
        scale = sigma if draws else 0.0
        made = [images - wiener(alpha * images + scale * e, log_snr, label[:count]) for e in eps]
        return [r.movedim(1, -1).flatten(0, 2).double().numpy() for r in made]  # (N, C)

    for level, component in zip(levels, found.unbind(1), strict=True):
        normals = np.concatenate(residuals(level, normal, 10))
        mean, covariance = normals.mean(0), np.cov(normals.T, bias=True)
        inverse = np.linalg.inv(covariance + 0.2 * np.trace(covariance) / 4 * np.eye(4))
        distances = [np.einsum("nc,cd,nd->n", r - mean, inverse, r - mean) / 4 for r in residuals(level, x0, 2)]
        expected = np.mean(distances, 0).reshape(2, 8, 8)
        assert np.abs(component.numpy() - expected).max() < 1e-4 * expected.mean(), level


def test_a_normal_images_mahalanobis_error_is_1_at_every_level() -> None:
    data, scorer = Gaussian.anisotropic(), DenoisingError([4], (-2.0, 1.0, 5.0), metric="mahalanobis", shrinkage=1e-6)
    scorer.fit(data, [(data.sample(60, 6, seed=1).float(), torch.zeros(60), keyed(60))])
    found = scorer(data, data.sample(60, 6, seed=2).float(), None, keyed(60, seed=1))
    assert (found.mean((0, 2, 3)) - 1).abs().max() < 0.05


def test_what_the_mahalanobis_metric_has_learnt_is_its_state() -> None:
    data, settings = Gaussian.anisotropic(), {"metric": "mahalanobis", "scales": "separate"}
    scorer, other = (DenoisingError([3, 1], (1.0, 3.0), **settings) for _ in range(2))  # type: ignore[arg-type]
    x0 = data.sample(8, 6, seed=1).float()
    scorer.fit(data, [(x0, torch.zeros(8), keyed(8))])
    before = other(data, x0, None, keyed(8))
    other.load_state_dict(scorer.state_dict())
    after = other(data, x0, None, keyed(8))
    assert torch.equal(after, scorer(data, x0, None, keyed(8))) and not torch.equal(after, before)


@pytest.mark.parametrize("draws", [0, 2])
def test_separate_levels_of_the_pyramid_weighted_by_their_channels_are_the_fused_error(draws: int) -> None:
    data, x0, levels = Gaussian.anisotropic(), features(2), (-1.0, 2.0)
    fused = DenoisingError([4], levels, draws)(data, x0, None, keyed(2))
    separate = DenoisingError([3, 1], levels, draws, scales="separate")(data, x0, None, keyed(2))
    assert separate.shape == (2, 4, 8, 8)
    weighted = (separate.unflatten(1, (2, 2)) * torch.tensor([3, 1]).view(1, 1, 2, 1, 1)).sum(2) / 4
    assert torch.allclose(weighted, fused, rtol=1e-5)


def test_separate_levels_are_whitened_by_themselves() -> None:
    data, x0 = Gaussian.anisotropic(), features(4)
    fine, settings = Gaussian(data.mu[:3], data.s[:3]), {"draws": 0, "metric": "mahalanobis"}
    both = DenoisingError([3, 1], (1.0,), scales="separate", **settings)  # type: ignore[arg-type]
    both.fit(data, [(x0, torch.zeros(4), keyed(4))])
    alone = DenoisingError([3], (1.0,), **settings)  # type: ignore[arg-type]
    alone.fit(fine, [(x0[:, :3], torch.zeros(4), keyed(4))])
    found = alone(fine, x0[:, :3], None, keyed(4))
    assert torch.allclose(both(data, x0, None, keyed(4))[:, :1], found, rtol=1e-4)
