"""Scores equal theory on Gaussian data, oracles elsewhere, and never depend on batch mates.

Errors and reconstructions of the exact Gaussian denoiser agree with their closed forms within 4 standard errors;
structural similarity equals scikit-image's, the other distances are written out by hand.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gaussian import Gaussian, wide
from skimage.metrics import structural_similarity
from torch import Tensor

from diffect.denoisers.conv import ConvNet
from diffect.denoisers.learned import LearnedDenoiser
from diffect.denoisers.unet import UNet
from diffect.denoising import Denoiser, ImageNoise
from diffect.scorers.contract import Scorer
from diffect.scorers.denoising import DenoisingError
from diffect.scorers.reconstruction import Reconstruction

DISTANCES = ("l1", "l2", "cosine", "ssim")


def keyed(count: int, seed: int = 0) -> ImageNoise:
    return ImageNoise(seed, torch.arange(count) * 7919 - 3)


def features(count: int, side: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(count, 4, side, side, generator=torch.Generator().manual_seed(seed))


def always(answer: Tensor) -> Denoiser:
    """A denoiser that knows its answer."""
    return lambda x_t, log_snr, label: answer


def within_4_standard_errors(sample: Tensor, expected: float) -> bool:
    error = sample.std() / len(sample) ** 0.5
    return bool((sample.mean() - expected).abs() < 4 * error) and bool(error < 0.05 * expected)


# Theory


@pytest.mark.parametrize("draws", [1, 3])
def test_the_denoising_error_of_normal_data_agrees_with_theory(draws: int) -> None:
    data, levels = Gaussian.anisotropic(), (-4.0, -1.0, 1.0, 3.0, 6.0)
    x0 = data.sample(200, 6, seed=1)
    components = DenoisingError(levels, draws)(data, x0, None, keyed(200))
    for level, found in zip(levels, components.unbind(1), strict=True):
        # One number for each image: images are independent, the cells of one share nothing either.
        assert within_4_standard_errors(found.mean((1, 2)), data.error(level).mean().item()), level


def test_the_denoising_error_of_a_given_image_agrees_with_theory() -> None:
    data, levels = Gaussian.anisotropic(), (-1.0, 1.0, 3.0)
    odd = torch.tensor([4.0, 1.0, -3.0, 2.2], dtype=torch.float64)  # far from mu
    components = DenoisingError(levels, draws=4)(data, wide(odd).expand(100, 4, 6, 6), None, keyed(100))
    for level, found in zip(levels, components.unbind(1), strict=True):
        at = torch.tensor([level], dtype=torch.float64)
        alpha, sigma2, gain = torch.sigmoid(at).sqrt(), torch.sigmoid(-at), data.gain(at)[0]
        expected = ((1 - alpha * gain) ** 2 * (odd - data.mu) ** 2 + gain**2 * sigma2).mean().item()
        assert within_4_standard_errors(found.mean((1, 2)), expected), level
        assert expected > 2 * data.error(level).mean()  # and it is an anomaly


@pytest.mark.parametrize("steps", [1, 2, 8])
def test_the_reconstruction_error_agrees_with_theory(steps: int) -> None:
    data, start, stop = Gaussian.anisotropic(), -1.0, 5.0
    scorer = Reconstruction(start, stop, steps, "l2", draws=2)
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


# Shapes and batch mates


SCORERS: dict[str, Scorer] = {
    "denoising": DenoisingError((-1.0, 1.0, 3.0), draws=2),
    "one level": DenoisingError((0.5,)),
    **{f"reconstruction {name}": Reconstruction(steps=3, distance=name) for name in DISTANCES},
    "reconstruction guided": Reconstruction(steps=3, guidance=0.5, draws=2),
}


@pytest.mark.parametrize("name", SCORERS)
def test_a_scorer_gives_its_number_of_components(name: str) -> None:
    scorer = SCORERS[name]
    found = scorer(Gaussian.anisotropic(), features(3), None, keyed(3))
    assert found.shape == (3, {"denoising": 3}.get(name, 1), 8, 8) and found.shape[1] == scorer.components
    assert torch.isfinite(found).all() and found.dtype == torch.float32


def networks() -> dict[str, Denoiser]:
    made = {}
    for name, network in {
        "conv": lambda **k: ConvNet(**k, width=24, depth=2),
        "unet": lambda **k: UNet(**k, widths=(16, 32), attention=(False, True), head=16),
    }.items():
        torch.manual_seed(0)
        made[name] = LearnedDenoiser(network, (4, 8, 8), classes=3).eval()
        for parameter in made[name].parameters():
            parameter.data += 0.05 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize("name", SCORERS)
@pytest.mark.parametrize("network", ["conv", "unet"])
@torch.no_grad()
def test_shuffling_or_splitting_the_batch_leaves_each_score_unchanged(network: str, name: str) -> None:
    scorer, denoiser = SCORERS[name], networks()[network]
    x0, label, noise = features(6), torch.arange(6) % 3, keyed(6)

    def scores(rows: Tensor) -> Tensor:
        return scorer(denoiser, x0[rows], label[rows], ImageNoise(0, noise.keys[rows])).mean((1, 2, 3))

    whole = scores(torch.arange(6))
    assert whole.unique().numel() == 6
    order = torch.tensor([4, 2, 5, 0, 1, 3])
    for found in (scores(order), torch.cat([scores(order[:1]), scores(order[1:4]), scores(order[4:])])):
        assert ((found - whole[order]).abs() / whole[order].abs()).max() < 1e-5


def test_a_score_is_a_function_of_the_seed_and_draws_are_averaged() -> None:
    data, x0 = Gaussian.anisotropic(), features(2)
    one, same, other = (DenoisingError((1.0,))(data, x0, None, keyed(2, seed)) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    few, many = (DenoisingError((1.0,), draws)(data, x0, None, keyed(2)) for draws in (1, 16))
    assert many.std() < few.std()


# Distances


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("steps", [1, 4])
def test_a_perfect_reconstruction_has_no_distance(name: str, steps: int) -> None:
    x0 = features(2, 16)
    found = Reconstruction(steps=steps, distance=name)(always(x0), x0, None, keyed(2))
    assert found.abs().max() < 2e-6


@pytest.mark.parametrize("level", [-1.0, 3.0])
def test_a_perfect_denoiser_makes_no_error(level: float) -> None:
    x0 = features(2)
    assert (DenoisingError((level,))(always(x0), x0, None, keyed(2)) == 0).all()


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
        found = Reconstruction(steps=2, distance=name)(always(other), x0, None, keyed(2))
        assert np.abs(found[:, 0].numpy() - by_hand).max() < 1e-5, name


def test_ssim_equals_scikit_image_away_from_the_borders() -> None:
    x0 = features(2, 32)
    other = 0.6 * x0 + 0.5 * features(2, 32, seed=1) + 0.3
    found = Reconstruction(steps=1, distance="ssim")(always(other), x0, None, keyed(2))[:, 0]
    for ours, a, b in zip(found, x0, other, strict=True):
        options: dict[str, Any] = {"win_size": 11, "data_range": 6.0, "use_sample_covariance": False, "full": True}
        maps = [structural_similarity(x.numpy(), y.numpy(), **options)[1] for x, y in zip(a, b, strict=True)]
        expected = 1 - np.mean(maps, 0)
        assert np.abs(ours.numpy() - expected)[5:-5, 5:-5].max() < 1e-5


def test_ssim_works_on_a_grid_smaller_than_its_window() -> None:
    for side in (3, 4, 8):
        x0 = features(1, side)
        found = Reconstruction(steps=1, distance="ssim")(always(-x0), x0, None, keyed(1))
        assert found.shape == (1, 1, side, side) and ((found > 0) & (found < 2)).all()


def test_guidance_brings_the_reconstruction_nearer_to_the_image() -> None:
    data, x0 = Gaussian.anisotropic(), features(4) + 2
    distances = [Reconstruction(steps=4, guidance=g)(data, x0, None, keyed(4)).mean().item() for g in (0.0, 0.3, 0.9)]
    assert distances[0] > 1.1 * distances[1] > 1.1 * distances[2]


def test_reconstruct_is_what_the_distance_judges() -> None:
    data, x0, noise = Gaussian.anisotropic(), features(2), keyed(2)
    scorer = Reconstruction(steps=4)
    rebuilt = scorer.reconstruct(data, x0, None, noise)
    assert torch.equal(scorer(data, x0, None, noise)[:, 0], (x0 - rebuilt).square().mean(1))
    assert not torch.equal(rebuilt, scorer.reconstruct(data, x0, None, noise, draw=1))


# Bad settings

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no level": (lambda: DenoisingError([]), r"scorer\.levels is \[\]"),
    "step number": (
        lambda: DenoisingError([250]),
        r"scorer\.levels is \[250\]; it must be a list of log-SNRs between -20 and 20",
    ),
    "not a number": (lambda: DenoisingError([math.nan]), r"scorer\.levels"),
    "no draw": (lambda: DenoisingError(draws=-1), r"scorer\.draws is -1; it must be 0 \(no noise\) or more"),
    "no step": (lambda: Reconstruction(steps=0), r"scorer\.steps and scorer\.draws must be 1 or more, found 0 and 1"),
    "start after stop": (lambda: Reconstruction(start=5, stop=5), r"scorer\.start is 5: it must lie below"),
    "start out of range": (lambda: Reconstruction(start=-30), r"scorer\.start and scorer\.stop is \[-30, 5\.0\]"),
    "distance": (
        lambda: Reconstruction(distance="lpips"),
        r"scorer\.distance is 'lpips'; allowed: l1, l2, cosine, ssim",
    ),
    "guidance": (lambda: Reconstruction(guidance=-1), r"scorer\.guidance is -1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_settings_are_refused_with_a_sentence(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()
