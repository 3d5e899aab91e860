"""Inversion ends where its closed forms say on Gaussian data: by product at few steps, in standard noise at many."""

import math
from itertools import pairwise

import pytest
import torch
from gaussian import Gaussian
from scoring import denoiser, features, keyed

from diffect.diffusion.samplers import ddim
from diffect.scorers.inversion import Inversion


@pytest.mark.parametrize("steps", [1, 3, 10])
@pytest.mark.parametrize("scale", [0.3, 1.0, 2.0])
def test_k_steps_multiply_isotropic_data_by_the_product_of_their_factors(steps: int, scale: float) -> None:
    data = Gaussian(torch.zeros(4).double(), torch.full((4,), scale).double())
    x0, levels = features(2).double(), [5 - 10 * step / steps for step in range(steps + 1)]
    factor = (1 / (1 + math.exp(-5))) ** 0.5
    for here, there in pairwise(levels):
        a, s, a2, s2 = (1 / (1 + math.exp(-x)) for x in (here, -here, there, -there))  # squared alphas and sigmas
        factor *= (scale**2 * (a * a2) ** 0.5 + (s * s2) ** 0.5) / (a * scale**2 + s)
    assert torch.allclose(Inversion([4], steps=steps).invert(data, x0, None), factor * x0, rtol=1e-6)


def test_many_steps_carry_normal_data_into_standard_normal_noise() -> None:
    data = Gaussian.anisotropic()
    x_t = Inversion([4], start=18, stop=-12, steps=600).invert(data, data.sample(200, 6, seed=1), None)
    for channel in x_t.unbind(1):
        assert channel.mean().abs() < 0.03 and abs(channel.std() - 1) < 0.03
    correlation = torch.corrcoef(x_t.movedim(1, 0).flatten(1))
    assert (correlation - torch.eye(4)).abs().max() < 0.05


def test_ddim_leads_back_to_the_image() -> None:
    data, x0 = Gaussian.anisotropic(), features(3).double()
    scorer = Inversion([4], start=14, stop=-5, steps=400)
    back = ddim(data, scorer.invert(data, x0, None), None, scorer.levels[::-1])
    assert (back - x0).abs().max() < 0.15 and (back - x0).square().mean().sqrt() < 0.03


@pytest.mark.parametrize("kind", ["wiener", "conv"])
@torch.no_grad()
def test_the_score_is_read_off_the_end_point(kind: str) -> None:
    x0, label = features(3), torch.arange(3)
    q = Inversion([4]).invert(denoiser(kind), x0, label).square().mean(1)
    density, typicality = (
        Inversion([4], statistic=statistic)(denoiser(kind), x0, label, keyed(3))[:, 0]  # type: ignore[arg-type]
        for statistic in ("density", "typicality")
    )
    assert torch.allclose(density, q / 2) and torch.allclose(typicality, (q - 1 - q.log()) / 2)


@pytest.mark.parametrize("steps", [3, 200])
def test_density_counts_what_is_too_loud_and_typicality_what_is_too_quiet_too(steps: int) -> None:
    data = Gaussian(torch.zeros(64).double(), torch.ones(64).double())
    normal = data.sample(2, 6, seed=0)
    found = {}
    for statistic in ("density", "typicality"):
        scorer = Inversion([4], 9.0, -9.0, steps, statistic=statistic)  # type: ignore[arg-type]
        scorer.fit(data, [(data.sample(4, 6, seed=1), torch.zeros(4), keyed(4))])
        found[statistic] = [scorer(data, factor * normal, None, keyed(2)).mean() for factor in (0.4, 1, 1.8)]
        typical = scorer.state_dict()["typical"]
    quiet, middle, loud = found["density"]
    assert quiet < middle < loud
    quiet, middle, loud = found["typicality"]
    assert middle < 0.05 and quiet > 10 * middle and loud > 10 * middle
    assert typical < 0.5 if steps == 3 else abs(typical - 1) < 0.1  # few steps lose some of the noise
