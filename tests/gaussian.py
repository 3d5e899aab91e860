"""Data whose every score is known in closed form: x0 ~ N(mu, diag(s^2)) over channels, at every position alike."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Gaussian:
    """The data and their exact denoiser; mu and s are (C,), float64."""

    mu: Tensor
    s: Tensor

    @classmethod
    def anisotropic(cls) -> "Gaussian":
        return cls(torch.tensor([0.5, -1.0, 0.0, 2.0]).double(), torch.tensor([1.0, 0.3, 2.0, 0.05]).double())

    def sample(self, count: int, side: int, seed: int) -> Tensor:
        """x0 (count, C, side, side), float64."""
        generator = torch.Generator().manual_seed(seed)
        eps = torch.randn(count, len(self.mu), side, side, generator=generator, dtype=torch.float64)
        return wide(self.mu) + wide(self.s) * eps

    def gain(self, log_snr: Tensor) -> Tensor:
        """k (B, C) in E[x0|x_t] = mu + k (x_t - alpha mu): alpha s^2 / (alpha^2 s^2 + sigma^2)."""
        alpha2, sigma2 = torch.sigmoid(log_snr)[:, None], torch.sigmoid(-log_snr)[:, None]
        return alpha2.sqrt() * self.s**2 / (alpha2 * self.s**2 + sigma2)

    def __call__(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        log_snr = log_snr.double()
        alpha = torch.sigmoid(log_snr).sqrt()[:, None]
        out = wide(self.mu) + wide(self.gain(log_snr)) * (x_t.double() - wide(alpha * self.mu))
        return out.to(x_t.dtype)

    def error(self, level: float) -> Tensor:
        """E (x0 - E[x0|x_t])^2 (C,) at a log-SNR: s^2 sigma^2 / (alpha^2 s^2 + sigma^2)."""
        alpha2 = torch.sigmoid(torch.tensor(level, dtype=torch.float64))
        return self.s**2 * (1 - alpha2) / (alpha2 * self.s**2 + 1 - alpha2)


def wide(x: Tensor) -> Tensor:
    """(C,) or (B, C) shaped to multiply (B, C, h, w)."""
    return x[..., None, None]
