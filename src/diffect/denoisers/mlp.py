"""A denoiser that sees one position at a time: a residual MLP over the channels of each grid cell."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from diffect.denoisers.embedding import Conditioning, zero_init


class PatchMLP(nn.Module):
    """Every cell of (C, h, w) is denoised from its own channels alone: the learned counterpart of per-patch detectors.

    Args:
        channels, size: of x0 (C, size, size); `size` is not needed.
        classes: number of labels, 0 for none.
    """

    def __init__(
        self, channels: int, size: int, classes: int, width: int = 256, depth: int = 4, expand: int = 2
    ) -> None:
        super().__init__()
        self.condition = Conditioning(width, classes)
        self.enter = nn.Linear(channels, width)
        self.blocks = nn.ModuleList(MLPBlock(width, expand) for _ in range(depth))
        self.leave = nn.Sequential(nn.LayerNorm(width), zero_init(nn.Linear(width, channels)))

    def forward(self, x: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor:
        condition = self.condition(log_snr, label)
        h = self.enter(x.permute(0, 2, 3, 1))  # (B, h, w, width)
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.leave(h).permute(0, 3, 1, 2)
        return out


class MLPBlock(nn.Module):
    """Normalisation modulated by the condition, two linear layers, residual."""

    def __init__(self, width: int, expand: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.modulate = zero_init(nn.Linear(width, 2 * width))
        self.up = nn.Linear(width, expand * width)
        self.down = nn.Linear(expand * width, width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.modulate(condition)[:, None, None].chunk(2, dim=-1)
        h = self.norm(x) * (1 + scale) + shift
        out: Tensor = x + self.down(F.gelu(self.up(h)))
        return out
