"""Conditioning of networks on the noise level and the category."""

import math

import torch
from torch import Tensor, nn


class Conditioning(nn.Module):
    """A vector (B, width) from log_snr (B,) and, if there are classes, the label (B,).

    log_snr enters as sines and cosines of log_snr / 4, which is EDM's c_noise = log(sigma) / 4 up to a factor of -1/2
    (Karras et al. 2022, table 1), at geometric frequencies.
    """

    frequencies: Tensor

    def __init__(self, width: int, classes: int, bands: int = 16) -> None:
        super().__init__()
        self.register_buffer("frequencies", math.pi * torch.logspace(-3, 2, bands, base=2.0), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(2 * bands, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes, width) if classes else None

    def forward(self, log_snr: Tensor, label: Tensor | None) -> Tensor:
        angle = (log_snr.float() / 4)[:, None] * self.frequencies
        hidden: Tensor = self.mlp(torch.cat([angle.sin(), angle.cos()], dim=1))
        if self.label is not None and label is not None:
            hidden = hidden + self.label(label)
        return torch.nn.functional.silu(hidden)


def zero_init(layer: nn.Linear) -> nn.Linear:
    """The layer with zero weights: a residual branch that starts as zero (Peebles & Xie 2023, adaLN-Zero)."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
