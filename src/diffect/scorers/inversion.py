"""Inversion: DDIM run backwards, and how typical of pure noise its end point is."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from diffect.config.check import checked
from diffect.config.types import LogSNR, PositiveInt, Supplied
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.process import Denoise, add_noise, alpha_sigma
from diffect.scorers.base import Scorer


@checked
class Inversion(Scorer):
    """DDIM from x0 to noise in k steps, then how far the end point x_T is from N(0, I): one component, no noise drawn.

    Normal data end as standard normal noise, others outside of it (Sakai et al. 2025, InvAD); q = ||x_T||^2 / C.

    Args:
        channels: of each scale.
        start: log-SNR that the image is taken to be at, as x_t = alpha x0; high.
        stop: log-SNR of the end point; low. The steps lie uniformly in log-SNR between the two.
        steps: denoiser calls.
        statistic: `density`, q / 2, which is -log N(x_T; 0, I) in nats per dimension without its constant; or
            `typicality`, (q / m - 1 - log(q / m)) / 2, the divergence of N(0, q) from N(0, m), which grows for too
            little noise as for too much. m is the mean of q on the fit images: 1 after many steps, well below it after
            few.
    """

    typical: Tensor

    def __init__(
        self,
        channels: Supplied[Sequence[int]],
        start: LogSNR = 5.0,
        stop: LogSNR = -5.0,
        steps: PositiveInt = 3,
        statistic: Literal["density", "typicality"] = "density",
    ) -> None:
        levels = [start + (stop - start) * step / steps for step in range(steps)]
        super().__init__(channels, levels=levels, keys="scorer.start and scorer.stop")
        if start <= stop:
            raise ValueError(f"scorer.start is {start:g}: it must lie above scorer.stop, {stop:g}")
        self.stop, self.statistic = float(stop), statistic
        self.register_buffer("typical", torch.ones(()))  # m

    def describe(self) -> str:
        span = f"{len(self.levels)} steps from log-SNR {self.levels[0]:g} to {self.stop:g}"
        inversion = f"DDIM inversion [@song2021ddim; @sakai2025inversion] in {span}"
        return f"{inversion}, scored by the {self.statistic} of its end point under pure noise"

    def forward(self, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        q = self._energy(denoiser, x0, label)
        if self.statistic == "density":
            return 0.5 * q
        ratio = q / self.typical
        return 0.5 * (ratio - 1 - ratio.clamp(min=1e-12).log())

    @torch.no_grad()
    def fit(self, denoiser: Denoise, batches: Iterable[tuple[Tensor, Tensor, ImageNoise]]) -> None:
        """Estimate m in one pass over (x0 (B, C, *grid), label (B,), noise)."""
        if self.statistic == "typicality":
            means = [self._energy(denoiser, x0, label).double().flatten(1).mean(1) for x0, label, _ in batches]
            self.typical.copy_(torch.cat(means).mean())

    def invert(self, denoiser: Denoise, x0: Tensor, label: Tensor | None) -> Tensor:
        """x_T (B, C, *grid): DDIM's step (Song et al. 2021, eq. 12, eta = 0) taken towards more noise.

        On N(0, s^2 I) data a step from (alpha, sigma) to (alpha', sigma') multiplies x_t by
        (alpha alpha' s^2 + sigma sigma') / (alpha^2 s^2 + sigma^2).
        """
        log_snr = torch.full((len(x0),), self.levels[0], device=x0.device)
        x_t = alpha_sigma(log_snr, x0)[0] * x0
        for here, there in pairwise([*self.levels, self.stop]):
            log_snr = torch.full_like(log_snr, here)
            alpha, sigma = alpha_sigma(log_snr, x0)
            x0_hat = denoiser(x_t, log_snr, label)
            x_t = add_noise(x0_hat, (x_t - alpha * x0_hat) / sigma, torch.full_like(log_snr, there))
        return x_t

    def _energy(self, denoiser: Denoise, x0: Tensor, label: Tensor | None) -> Tensor:
        """q (B, 1, *grid)."""
        return self.invert(denoiser, x0, label).square().mean(1, keepdim=True)
