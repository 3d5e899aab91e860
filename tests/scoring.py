"""What the tests of scorers share: images, their noise, and denoisers of every kind on four channels."""

import functools
from typing import Any

import torch
from torch import Tensor

from diffect.denoisers.empirical import Empirical
from diffect.denoisers.gaussian import Gaussian
from diffect.denoisers.learned import LearnedDenoiser
from diffect.denoisers.networks.conv import ConvNet
from diffect.denoisers.networks.unet import UNet
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.process import Denoise

NETWORKS, CLOSED_FORMS = ("conv", "unet"), ("wiener", "stored")


def keyed(count: int, seed: int = 0) -> ImageNoise:
    return ImageNoise(seed, torch.arange(count) * 7919 - 3)


def features(count: int, height: int = 8, width: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(count, 4, height, width, generator=torch.Generator().manual_seed(seed))


def always(answer: Tensor) -> Denoise:
    """A denoiser that knows its answer."""
    return lambda x_t, log_snr, label: answer


def within_4_standard_errors(sample: Tensor, expected: float) -> bool:
    error = sample.std() / len(sample) ** 0.5
    return bool((sample.mean() - expected).abs() < 4 * error) and bool(error < 0.05 * expected)


@functools.cache
def denoiser(kind: str, height: int = 8, width: int = 8) -> Any:
    """A denoiser of three categories: untrained networks, closed forms fitted on nine images."""
    shape = (4, height, width)
    if kind in CLOSED_FORMS:
        closed = (
            Gaussian(shape, classes=3) if kind == "wiener" else Empirical(shape, classes=3, memory=20, keep="greedy")
        )
        closed.fit([(features(9, height, width, seed=5), torch.arange(9) % 3)])
        return closed
    torch.manual_seed(0)
    network: Any = {
        "conv": functools.partial(ConvNet, width=24, depth=2),
        "unet": functools.partial(UNet, widths=(16, 32), attention=(False, True), head=16),
    }[kind]
    made = LearnedDenoiser(network, shape, classes=3).eval()
    for parameter in made.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    return made
