"""Denoisers for feature grids at one resolution, light enough for two CPU cores: convolutional, or cell by cell."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from diffect.denoisers.networks.conditioning import Conditioning, zero_init


class ConvNet(nn.Module):
    """`depth` residual blocks at the grid's own resolution; receptive field depth * (kernel - 1) + 1 cells.

    With kernel 1 every cell is denoised from its own channels alone: a per-patch MLP, the learned counterpart of
    detectors that judge patch by patch.

    Channels come last inside: most of the work is then plain matrix products, which CPUs do several times faster
    than grouped convolutions.

    Args:
        shape: of x0, (C, h, w); only C matters, the net is fully convolutional.
        classes: number of labels, 0 for none.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        classes: int,
        width: int = 128,
        depth: int = 4,
        kernel: int = 3,
        expand: int = 2,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"denoiser.network.kernel is {kernel}; it must be odd, so that a cell stays where it is")
        channels = shape[0]
        self.condition = Conditioning(width, classes)
        self.enter = nn.Linear(channels, width)
        self.blocks = nn.ModuleList(ConvBlock(width, kernel, expand) for _ in range(depth))
        self.leave = nn.Sequential(nn.LayerNorm(width), zero_init(nn.Linear(width, channels)))

    def forward(self, x: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor:
        condition = self.condition(log_snr, label)
        h = self.enter(x.permute(0, 2, 3, 1))  # (B, h, w, width)
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.leave(h).permute(0, 3, 1, 2)
        return out


class ConvBlock(nn.Module):
    """Depthwise convolution, norm modulated by the condition, two linear layers, residual (Liu et al. 2022)."""

    def __init__(self, width: int, kernel: int, expand: int) -> None:
        super().__init__()
        mixing = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.depthwise = mixing if kernel > 1 else nn.Identity()
        self.norm = nn.LayerNorm(width)
        self.modulate = zero_init(nn.Linear(width, 2 * width))
        self.up = nn.Linear(width, expand * width)
        self.down = nn.Linear(expand * width, width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.modulate(condition)[:, None, None].chunk(2, dim=-1)
        h = self.depthwise(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        h = self.norm(h) * (1 + scale) + shift
        out: Tensor = x + self.down(F.gelu(self.up(h)))
        return out
