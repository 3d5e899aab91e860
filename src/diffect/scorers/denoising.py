"""The denoising error: how badly one step of the denoiser explains an image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from diffect.denoising import Denoiser, ImageNoise, add_noise
from diffect.scorers.contract import check_levels


class DenoisingError(nn.Module):
    """E ||x0 - x0_hat(x_t)||^2 / C over noise draws, one component for each log-SNR level.

    Args:
        levels: log-SNRs at which the image is noised, in nats; never step numbers.
        draws: noise draws at each level.
    """

    def __init__(self, levels: Sequence[float] = (-1.0, 1.0, 3.0), draws: int = 1) -> None:
        super().__init__()
        check_levels("scorer.levels", levels)
        if draws < 1:
            raise ValueError(f"scorer.draws is {draws}; it must be 1 or more")
        self.levels, self.draws = [float(level) for level in levels], draws
        self.components = len(self.levels)

    def forward(self, denoiser: Denoiser, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        components = []
        for level in self.levels:
            log_snr = torch.full((len(x0),), level, device=x0.device)
            error = torch.zeros_like(x0[:, 0])
            for draw in range(self.draws):
                x_t = add_noise(x0, noise(x0, level, draw), log_snr)
                error += (x0 - denoiser(x_t, log_snr, label)).square().mean(1)
            components.append(error / self.draws)
        return torch.stack(components, dim=1)
