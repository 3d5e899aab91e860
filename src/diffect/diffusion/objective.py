"""The training objective: which noise levels are drawn, and how their errors are weighted."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from diffect.diffusion.noise import ImageNoise, unit
from diffect.diffusion.process import Denoise, add_noise, eps_error_factor
from diffect.diffusion.schedules import NoiseSchedule
from diffect.diffusion.weights import LossWeight


def denoising_loss(denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: TrainingNoise) -> Tensor:
    """The training objective of any denoiser, weight * SNR * mean over (C, *grid) of (x0 - x0_hat)^2, per sample: (B,).

    SNR ||x0 - x0_hat||^2 is the squared eps error, so that closed forms can be compared with learned denoisers.

    Args:
        denoiser: x0_hat from x_t.
        x0: (B, C, *grid).
        label: (B,), or None.
        noise: one draw of the objective.
    """
    x0_hat = denoiser(add_noise(x0, noise.eps, noise.log_snr), noise.log_snr, label)
    error = (x0 - x0_hat).float().square().flatten(1).mean(1)
    return noise.weight * eps_error_factor(noise.log_snr, "x0") * error


@dataclass(frozen=True)
class TrainingNoise:
    """One draw of the objective for a batch: log_snr (B,), eps (B, C, *grid), and the weight (B,) on the eps error.

    `coin` (B,), uniform in [0, 1), is for random decisions of a denoiser, such as dropping a label; 1 for fixed noise.
    """

    log_snr: Tensor
    eps: Tensor
    weight: Tensor
    coin: Tensor


@dataclass(frozen=True)
class Objective:
    """How training samples noise levels (the schedule, t uniform and stratified) and weighs them."""

    schedule: NoiseSchedule
    weight: LossWeight

    def sample(self, x0: Tensor, generator: torch.Generator) -> TrainingNoise:
        """Noise for x0 (B, C, *grid): one t uniform in each stratum [i/B, (i+1)/B), in random order.

        Strata lower the variance of the batch's loss over noise levels. Because of the random order, positions in the
        batch, which may belong to categories, are independent of levels.
        """
        batch = len(x0)
        u = torch.rand(batch, generator=generator, device=x0.device).double().cpu()
        order = torch.randperm(batch, generator=generator, device=x0.device).double().cpu()
        t = (order + u) / batch
        eps = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        return self._at(t, eps, torch.rand(batch, generator=generator, device=x0.device))

    def fixed(self, x0: Tensor, noise: ImageNoise, draw: int, draws: int) -> TrainingNoise:
        """Noise for validation: t and eps depend on image and draw alone, so that losses of two steps are comparable.

        Args:
            x0: (B, C, *grid).
            noise: of these images.
            draw: number of the draw, from 0.
            draws: how many there are; they are evenly spaced in t, from a start that depends on the image.
        """
        start = torch.tensor([unit(noise.seed, key) for key in noise.keys.tolist()], dtype=torch.float64)
        eps = noise(x0, "selection", draw)
        return self._at((start + draw / draws) % 1.0, eps, torch.ones(len(x0), device=eps.device))

    def _at(self, t: Tensor, eps: Tensor, coin: Tensor) -> TrainingNoise:
        log_snr = self.schedule.log_snr(t)
        weight = self.weight(log_snr, self.schedule)
        return TrainingNoise(log_snr.to(eps.device, torch.float32), eps, weight.to(eps.device, torch.float32), coin)
