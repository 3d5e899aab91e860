"""The forward process and the three predictions of a network.

x_t = alpha x0 + sigma eps with alpha^2 = sigmoid(log_snr), sigma^2 = sigmoid(-log_snr); v = alpha eps - sigma x0.
The contract of every denoiser is x0_hat = denoiser(x_t, log_snr, label).
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

PredictionType = Literal["eps", "v", "x0"]
Denoise = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""x0_hat (B, C, *grid) from x_t (B, C, *grid), log_snr (B,) and label (B,), or None for no label."""


def alpha_sigma(log_snr: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma of log_snr (B,), shaped (B, 1, ...) to multiply `like` (B, C, *grid), in its dtype and device."""
    wide = log_snr.to(device=like.device, dtype=torch.float64 if like.dtype == torch.float64 else torch.float32)
    wide = wide.view(-1, *[1] * (like.ndim - 1))
    return torch.sigmoid(wide).sqrt().to(like.dtype), torch.sigmoid(-wide).sqrt().to(like.dtype)


def add_noise(x0: Tensor, eps: Tensor, log_snr: Tensor) -> Tensor:
    """x_t = alpha x0 + sigma eps; x0 and eps (B, C, *grid), log_snr (B,)."""
    alpha, sigma = alpha_sigma(log_snr, x0)
    return alpha * x0 + sigma * eps


def output_to_x0(output: Tensor, x_t: Tensor, log_snr: Tensor, prediction: PredictionType) -> Tensor:
    """x0_hat (B, C, *grid) from the output of a network.

    Args:
        output: (B, C, *grid), the predicted eps, v or x0.
        x_t: (B, C, *grid).
        log_snr: (B,).
        prediction: which of the three the output is.
    """
    alpha, sigma = alpha_sigma(log_snr, x_t)
    if prediction == "v":
        return alpha * x_t - sigma * output
    if prediction == "eps":
        return (x_t - sigma * output) / alpha
    return output


def training_target(x0: Tensor, eps: Tensor, log_snr: Tensor, prediction: PredictionType) -> Tensor:
    """The target (B, C, *grid) of a network's output: eps, v or x0; x0 and eps (B, C, *grid), log_snr (B,)."""
    if prediction == "v":
        alpha, sigma = alpha_sigma(log_snr, x0)
        return alpha * eps - sigma * x0
    return eps if prediction == "eps" else x0


def eps_error_factor(log_snr: Tensor, prediction: PredictionType) -> Tensor:
    """||eps - eps_hat||^2 / squared error of the output (B,): 1 for eps, alpha^2 for v, SNR for x0; log_snr (B,)."""
    if prediction == "v":
        return torch.sigmoid(log_snr)
    return torch.exp(log_snr) if prediction == "x0" else torch.ones_like(log_snr)
