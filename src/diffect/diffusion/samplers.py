"""Sampling: DDIM from noise to x0."""

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
    """Denoise x_t from levels[0] through the other levels to x0 (Song et al. 2021, eq. 12, eta = 0).

    On N(0, I) data the result is x_t times the product of cos(angle step), angle = arctan(sigma / alpha).

    Args:
        denoiser: called once at each level.
        x_t: (B, C, *grid), at levels[0].
        label: (B,), or None.
        levels: increasing log-SNRs; the last step goes to x0.
        target: (B, C, *grid), towards which every step is pulled (Mousakhan et al. 2023, DDAD, eq. 8):
            eps_hat - guidance sigma (target_t - x_t); or None.
        guidance: see `target`.
    """
    if any(b <= a for a, b in pairwise(levels)):
        raise ValueError(f"DDIM levels must be increasing log-SNRs; they are {list(levels)}")
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
