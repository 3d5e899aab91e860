"""Sampling: DDIM from noise to x0."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from diffect.diffusion.process import Denoise, add_noise, alpha_sigma


def ddim(
    denoiser: Denoise,
    x_t: Tensor,
    label: Tensor | None,
    levels: Sequence[float],
    *,
    target: Tensor | None = None,
    guidance: float = 0.0,
) -> Tensor:
    """Denoise x_t (B, C, *grid) from levels[0] through the rest to x0 (Song et al. 2021, eq. 12, eta = 0).

    `levels` are increasing log-SNRs; k of them make k denoiser calls, the last one going to x0. On N(0, I) data the
    result is x_t times the product of the cosines of the angle steps, angle = arctan(sigma / alpha).
    With `target` (B, C, *grid) every step is pulled towards it by `guidance` (Mousakhan et al. 2023, DDAD, eq. 8):
    eps_hat - guidance sigma (target_t - x_t).
    """
    if any(b <= a for a, b in pairwise(levels)):
        raise ValueError(f"DDIM levels must be increasing log-SNRs, found {list(levels)}")
    for number, level in enumerate(levels):
        log_snr = torch.full((len(x_t),), level, device=x_t.device, dtype=x_t.dtype)
        alpha, sigma = alpha_sigma(log_snr, x_t)
        x0_hat = denoiser(x_t, log_snr, label)
        eps_hat = (x_t - alpha * x0_hat) / sigma
        if target is not None and guidance:
            target_t = alpha * target + sigma * eps_hat
            eps_hat = eps_hat - guidance * sigma * (target_t - x_t)
            x0_hat = (x_t - sigma * eps_hat) / alpha
        if number + 1 == len(levels):
            return x0_hat
        x_t = add_noise(x0_hat, eps_hat, torch.full_like(log_snr, levels[number + 1]))
    raise ValueError("DDIM needs at least one level")
