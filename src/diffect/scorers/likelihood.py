"""The likelihood of an image, from denoising errors at all noise levels."""

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge
from torch import Tensor

from diffect.config.check import checked
from diffect.config.types import LogSNR, PositiveInt, Supplied
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.process import Denoise, add_noise, alpha_sigma
from diffect.scorers.base import Scorer


@checked
class Likelihood(Scorer):
    """-log p(x0) per position in nats per dimension: the I-MMSE integral over log-SNR, one component.

    -log p(x0) = -log N(x0; 0, I) - 1/2 int (e_N - e) dlog_snr with e = SNR E ||x0 - x0_hat(x_t)||^2 and e_N the same
    of the exact denoiser of N(0, I), x0_hat = alpha x_t (Guo, Shamai & Verdu 2005; Kong et al. 2023,
    "Information-theoretic diffusion", eq. 9). Positions add up to the whole image exactly; for a denoiser that sees
    each position alone, each is the likelihood of that position.

    x0 has unit variance, so e_N is near e at both ends, and sharing the noise with it cancels most of the sampling
    error; so does drawing noise in pairs eps, -eps. The integral is the trapezoid rule on the whole line, whose error
    is beyond all powers of the step; outside [low, high] the integrand is continued by its asymptotes, exp(log_snr)
    and exp(-log_snr). The upper one holds if no direction of the data has a variance far below exp(-high); smaller
    variances count as exp(-high).

    Args:
        channels: of each scale.
        low, high: the log-SNRs between which the denoiser is called, in nats.
        steps: how many levels, uniform from low to high, both counted; steps of 1 nat are ample.
        draws: pairs of noise draws at each level.
    """

    def __init__(
        self,
        channels: Supplied[Sequence[int]],
        low: LogSNR = -5.0,
        high: LogSNR = 7.0,
        steps: Annotated[int, Ge(2)] = 13,
        draws: PositiveInt = 1,
    ) -> None:
        width = (high - low) / (steps - 1)
        levels = [low + width * step for step in range(steps)]
        super().__init__(channels, levels=levels, keys="scorer.low and scorer.high")
        if low >= high:
            raise ValueError(f"scorer.low is {low:g}: it must lie below scorer.high, {high:g}")
        self.draws = draws
        # Each end stands for the geometric series of its tail too: 1 + exp(-width) + exp(-2 width) + ...
        end = width / (1 - math.exp(-width))
        self.weights = [end, *[width] * (steps - 2), end]

    def describe(self) -> str:
        levels = f"{len(self.levels)} levels from log-SNR {self.levels[0]:g} to {self.levels[-1]:g}"
        return f"the negative log-likelihood, by the I-MMSE integral [@guo2005mmse; @kong2023information] over {levels}"

    def forward(self, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        """(B, 1, *grid), in nats per dimension."""
        integral = torch.zeros_like(x0[:, 0])
        for level, weight in zip(self.levels, self.weights, strict=True):
            for draw in range(self.draws):
                eps = noise(x0, level, draw)
                for signed in (eps, -eps):
                    integral += weight / (2 * self.draws) * _gain(level, denoiser, x0, label, signed)
        return (0.5 * math.log(2 * math.pi) + 0.5 * x0.square().mean(1) - 0.5 * integral)[:, None]


def _gain(level: float, denoiser: Denoise, x0: Tensor, label: Tensor | None, eps: Tensor) -> Tensor:
    """SNR (||x0 - alpha x_t||^2 - ||x0 - x0_hat||^2) / C at a log-SNR and a draw eps: (B, *grid)."""
    log_snr = torch.full((len(x0),), level, device=x0.device)
    x_t = add_noise(x0, eps, log_snr)
    normal, x0_hat = alpha_sigma(log_snr, x0)[0] * x_t, denoiser(x_t, log_snr, label)
    # a^2 - b^2 as (a - b)(a + b): at high SNR both are small next to x0.
    return math.exp(level) * ((x0_hat - normal) * (2 * x0 - x0_hat - normal)).mean(1)
