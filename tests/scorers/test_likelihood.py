"""The likelihood of Gaussian data is exact to 0.01 nats per dimension, that of one position up to the noise drawn."""

import math

import pytest
import torch
from gaussian import Gaussian, wide
from scoring import denoiser, features, keyed
from torch import Tensor

from diffect.scorers.likelihood import Likelihood


def exact(data: Gaussian, x0: Tensor) -> Tensor:
    """-log p(x0) at each position (B, h, w), in nats per dimension."""
    deviation = (x0 - wide(data.mu)) / wide(data.s)
    return 0.5 * (math.log(2 * math.pi) + 2 * wide(data.s.log()) + deviation.square()).mean(1)


SETTINGS = {
    "unit variance": (Gaussian(torch.zeros(4).double(), torch.ones(4).double()), {}),
    "of mild shape": (Gaussian(torch.tensor([0.2, -0.4, 0.0, 0.1]).double(), torch.tensor([1, 0.5, 1.3, 0.7])), {}),
    "of any shape": (Gaussian.anisotropic(), {"low": -9.0, "high": 12.0, "steps": 22}),
    "in fewer levels": (Gaussian.anisotropic(), {"low": -9.0, "high": 12.0, "steps": 12}),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_likelihood_of_gaussian_data_is_exact_to_a_hundredth_of_a_nat(name: str) -> None:
    data, settings = SETTINGS[name]
    x0 = data.sample(120, 6, seed=1)
    found = Likelihood([4], **settings)(data, x0, None, keyed(120))[:, 0]
    assert abs(found.mean() - exact(data, x0).mean()) < 0.01


@pytest.mark.parametrize("name", SETTINGS)
def test_the_likelihood_of_a_position_is_its_own(name: str) -> None:
    data, settings = SETTINGS[name]
    x0 = data.sample(4, 6, seed=2) + wide(data.s) * 2  # none too likely
    few, many = (Likelihood([4], **settings, draws=draws)(data, x0, None, keyed(4))[:, 0] for draws in (1, 64))
    right = exact(data, x0)
    errors = [(found - right).square().mean().sqrt() for found in (few, many)]
    assert errors[1] < 0.1 * right.std()  # what is left is noise: it shrinks as draws do, by sqrt(64)
    assert errors[1] < 1e-6 or 5 < errors[0] / errors[1] < 12


def test_of_standard_normal_data_nothing_is_left_to_chance() -> None:
    data, x0 = Gaussian(torch.zeros(4).double(), torch.ones(4).double()), features(3).double() * 3
    found = Likelihood([4], steps=2)(data, x0, None, keyed(3))[:, 0]
    assert torch.allclose(found, exact(data, x0), atol=1e-6)


@pytest.mark.parametrize("level", [7.0, 11.0])
def test_the_closed_form_gaussian_has_the_likelihood_of_its_own_density(level: float) -> None:
    wiener, x0, label = denoiser("wiener"), features(6, seed=1), torch.arange(6) % 3
    found = Likelihood([4], low=-6.0, high=level, steps=14, draws=8)(wiener, x0, label, keyed(6))[:, 0]
    clean = torch.full((6,), 30.0)
    right = -wiener.log_density(x0, clean, label) / 4
    assert abs(found.mean() - right.mean()) < 0.01
    assert (found - right).square().mean().sqrt() < 0.1
