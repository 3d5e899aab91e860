"""Density is the squared Mahalanobis distance of the Gaussian, and of stored patches the distance to the nearest."""

import numpy as np
import pytest
import torch
from scoring import denoiser, features, keyed

from diffect.scorers.density import Density


@pytest.mark.parametrize("level", [-2.0, 1.0, 4.6])
def test_of_the_gaussian_it_is_the_mahalanobis_distance_regularised_by_the_noise(level: float) -> None:
    wiener, x0, label = denoiser("wiener"), features(3, seed=1), torch.tensor([2, 0, 1])
    found = Density([4], (level,))(wiener, x0, label, keyed(3))[:, 0]
    expected = np.empty((3, 64))
    for row, model in enumerate(label.tolist()):
        for cell in range(64):
            vectors, values = (part[model, cell].double().numpy() for part in (wiener.vectors, wiener.values))
            covariance = vectors @ np.diag(values) @ vectors.T + np.exp(-level) * np.eye(4)
            off = (x0[row].flatten(1)[:, cell] - wiener.mean[model, cell]).double().numpy()
            expected[row, cell] = off @ np.linalg.solve(covariance, off) / 4
    assert np.abs(found.flatten(1).numpy() - expected).max() < 1e-4 * expected.mean()
    assert torch.equal(Density([4], (level,), root=True)(wiener, x0, label, keyed(3))[:, 0], found.sqrt())


def test_of_stored_patches_it_goes_to_the_squared_distance_to_the_nearest() -> None:
    stored, x0, label = denoiser("stored"), features(3, seed=1), torch.tensor([2, 0, 1])
    patches = x0.movedim(1, -1).flatten(0, 2).double()
    squared = torch.cdist(patches, stored.patches.double()).square()
    owners = torch.arange(3).repeat_interleave(stored.sizes)
    squared[label.repeat_interleave(64)[:, None] != owners] = torch.inf  # those of other categories
    for level in (2.0, 12.0):
        found = Density([4], (level,))(stored, x0, label, keyed(3))[:, 0].flatten()
        ratio = np.exp(-level)  # (sigma / alpha)^2
        expected = -2 * torch.logsumexp(-squared / (2 * ratio), 1) / 4
        assert (found - expected).abs().max() < 1e-4 * expected.abs().mean()
    nearest = squared.amin(1) / 4
    assert (ratio * found - nearest).abs().max() < 1e-3 * nearest.mean()  # of the highest level


def test_an_image_of_the_mean_is_as_normal_as_can_be_at_every_cell() -> None:
    wiener = denoiser("wiener")
    mean = wiener.mean[2].mT.reshape(1, 4, 8, 8)
    found = Density([4], (1.0,))(wiener, torch.cat([mean, mean + 1]), torch.tensor([2, 2]), keyed(2))
    assert found[0].abs().max() < 1e-4 and found[1].min() > 0.1
