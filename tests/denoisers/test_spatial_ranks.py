"""Denoisers and scorers work on grids of one, two and three axes, and see cells, not their arrangement."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from scoring import keyed
from torch import Tensor

from diffect.denoisers.base import ClosedForm, Denoiser
from diffect.denoisers.empirical import Empirical
from diffect.denoisers.gaussian import Gaussian
from diffect.denoisers.learned import LearnedDenoiser, NoDenoiser
from diffect.denoisers.networks.conv import ConvNet
from diffect.denoisers.networks.dit import DiT
from diffect.denoisers.networks.unet import UNet
from diffect.denoisers.per_scale import PerScale
from diffect.diffusion.noise import ImageNoise
from diffect.representations.affine import Affine
from diffect.scorers.base import Scorer
from diffect.scorers.denoising import DenoisingError
from diffect.scorers.density import Density
from diffect.scorers.diffusion_time import DiffusionTime
from diffect.scorers.inversion import Inversion
from diffect.scorers.likelihood import Likelihood
from diffect.scorers.reconstruction import Reconstruction

GRIDS = [(12,), (4, 6), (3, 3, 4)]
LABEL = torch.zeros(9, dtype=torch.int64)


def x0(grid: tuple[int, ...], count: int = 9, channels: int = 3, seed: int = 0) -> Tensor:
    return torch.randn(count, channels, *grid, generator=torch.Generator().manual_seed(seed))


CLOSED: dict[str, Callable[..., ClosedForm]] = {
    "gaussian": Gaussian,
    "stored patches": partial(Empirical, memory=1.0),
    "per scale": partial(PerScale, partial(Empirical, memory=1.0), channels=[1, 2]),
}


def fitted(name: str, data: Tensor) -> ClosedForm:
    denoiser = CLOSED[name](shape=data.shape[1:])
    denoiser.fit([(data[:5], LABEL[:5]), (data[5:], LABEL[5:])])
    return denoiser


@pytest.mark.parametrize("name", CLOSED)
@pytest.mark.parametrize("grid", GRIDS)
def test_a_closed_form_depends_on_the_cells_and_not_on_their_arrangement(name: str, grid: tuple[int, ...]) -> None:
    data, log_snr = x0(grid), torch.linspace(-2, 3, 9)
    made, flat = fitted(name, data), fitted(name, data.flatten(2))
    expected = flat(data.flatten(2), log_snr)
    assert torch.allclose(made(data, log_snr).flatten(2), expected, atol=1e-5)
    assert torch.allclose(
        made.log_density(data, log_snr).flatten(1), flat.log_density(data.flatten(2), log_snr), atol=1e-4
    )
    assert made.log_normaliser(log_snr).shape == (9, *grid)


@pytest.mark.parametrize(("grid", "counts"), [((12,), {0: 2, 5: 3}), ((2, 3, 4), {0: 8, 17: 18})])
def test_a_window_is_a_box_along_every_axis(grid: tuple[int, ...], counts: dict[int, int]) -> None:
    made = Empirical((3, *grid), memory=1.0, window=1)
    made.fit([(x0(grid, count=1), LABEL[:1])])
    near = made._near(0, 1)
    # In 2 x 3 x 4 cells, cell 17 is at (1, 1, 1): two, three and three cells lie within one of it.
    assert {cell: len(near[cell].unique()) for cell in counts} == counts


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("grid", GRIDS)
def test_the_convolutional_network_works_on_any_grid(kernel: int, grid: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    network = ConvNet((3, *grid), classes=0, outputs=3, width=8, depth=1, kernel=kernel)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x = x0(grid, 2)
    x.requires_grad_()
    out = network(x, torch.zeros(2), None)
    assert out.shape == x.shape
    centre = tuple(side // 2 for side in grid)
    out[(0, 0, *centre)].backward()
    assert x.grad is not None
    reached = x.grad[0].abs().sum(0).nonzero()
    # The receptive field of one block: the kernel's box around the cell.
    assert (reached - torch.tensor(centre)).abs().max() == kernel // 2
    assert x.grad[1].abs().max() == 0


@pytest.mark.parametrize(
    ("network", "name"), [(UNet, "unet"), (DiT, "dit"), (ConvNet, "conv")], ids=["unet", "dit", "conv"]
)
def test_a_network_refuses_a_grid_that_it_cannot_take(network: Any, name: str) -> None:
    shape = (3, 4, 4, 4, 4) if name == "conv" else (3, 8)
    with pytest.raises(ValueError, match=rf"denoiser={name} works on .*; x0 has {len(shape) - 1}"):
        LearnedDenoiser(network, shape)


SCORERS: dict[str, Callable[[], Scorer]] = {
    "denoising": lambda: DenoisingError([1, 2], (0.0, 3.0), draws=1, metric="mahalanobis", scales="separate"),
    "density": lambda: Density([1, 2]),
    "likelihood": lambda: Likelihood([1, 2], steps=3),
    "inversion": lambda: Inversion([1, 2], statistic="typicality"),
    **{
        distance: lambda distance=distance: Reconstruction([1, 2], steps=2, distance=distance)  # type: ignore[misc]
        for distance in ("l1", "cosine", "ssim")
    },
    "diffusion time": lambda: DiffusionTime([1, 2], (1.0, 2.0)),
}


@pytest.mark.parametrize("name", SCORERS)
@pytest.mark.parametrize("grid", GRIDS)
@torch.no_grad()
def test_a_scorer_works_on_any_grid(name: str, grid: tuple[int, ...]) -> None:
    data, scorer = x0(grid), SCORERS[name]()
    denoiser: Denoiser = NoDenoiser(data.shape[1:]) if name == "diffusion time" else fitted("gaussian", data)
    scorer.fit(denoiser, [(x0(grid, seed=1), LABEL, keyed(9))])
    components = scorer(denoiser, data, LABEL, keyed(9))
    assert components.shape == (9, scorer.components, *grid) and components.isfinite().all()
    alone = scorer(denoiser, data[3:4], LABEL[:1], ImageNoise(0, keyed(9).keys[3:4]))
    assert torch.allclose(alone, components[3:4], atol=1e-5)


@pytest.mark.parametrize("scaling", ["scaled", "standard", "whitened"])
@pytest.mark.parametrize("statistics", ["shared", "cell"])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("grid", GRIDS)
def test_the_affine_stage_has_an_inverse(scaling: Any, statistics: Any, groups: int, grid: tuple[int, ...]) -> None:
    raw, label = 5 + 3 * x0(grid, 16).cumsum(1), torch.arange(16) % groups
    affine = Affine([1, 2], scaling, statistics, groups=groups)
    affine.fit([(raw, label)])
    encoded = affine(raw, label)
    assert (encoded - raw).abs().max() > 1
    assert torch.allclose(affine.inverse(encoded, label), raw, atol=1e-4)
