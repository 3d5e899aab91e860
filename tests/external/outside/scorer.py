"""A scorer of its own: neither `check` nor `fit` nor `describe`."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffect.config.types import LogSNR, Supplied
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.process import Denoise
from diffect.scorers.base import Origin, Scorer


class Largest(Scorer):
    """The largest error of any channel at one level."""

    def __init__(self, channels: Supplied[Sequence[int]], level: LogSNR = 1.0) -> None:
        super().__init__(channels, [Origin(level)])
        self.level = level

    def forward(self, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        log_snr = torch.full((len(x0),), self.level, device=x0.device)
        alpha = torch.sigmoid(log_snr).sqrt().view(-1, *[1] * (x0.ndim - 1))
        return (x0 - denoiser(alpha * x0, log_snr, label)).abs().amax(1, keepdim=True)
