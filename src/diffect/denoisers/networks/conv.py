"""Denoisers for feature grids at one resolution, light enough for two CPU cores: convolutional, or cell by cell."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from diffect.config.check import checked
from diffect.config.types import PositiveInt, Supplied
from diffect.denoisers.base import Network
from diffect.denoisers.networks.conditioning import Conditioning, zero_init


@checked
class ConvNet(Network):
    """`depth` residual blocks at the resolution of the grid; receptive field depth * (kernel - 1) + 1 cells.

    With kernel 1 every cell is denoised independently: a per-patch MLP, the learned counterpart of detectors that score
    patch by patch. Channels come last inside: most of the work is then plain matrix products, which CPUs do several
    times faster than grouped convolutions.

    Args:
        shape: of x0, (C, *grid), the grid of 1, 2 or 3 axes; its sides do not matter, the net is fully convolutional.
        classes: number of labels, 0 for none.
        outputs: channels of the output.
        width: channels inside.
        depth: number of blocks.
        kernel: side of the convolutions, odd.
        expand: width of the hidden layer of a block, in widths.
    """

    def __init__(
        self,
        shape: Supplied[Sequence[int]],
        classes: Supplied[int],
        outputs: Supplied[PositiveInt],
        width: PositiveInt = 128,
        depth: PositiveInt = 4,
        kernel: PositiveInt = 3,
        expand: PositiveInt = 2,
    ) -> None:
        super().__init__()
        if kernel % 2 == 0:
            raise ValueError(f"denoiser.network.kernel is {kernel}; it must be odd, so that cells keep their positions")
        if not 2 <= len(shape) <= 4:
            raise ValueError(f"denoiser=conv works on data of 1, 2 or 3 axes; x0 has {len(shape) - 1}")
        self.width, self.kernel, self.expand = width, kernel, expand
        self.cellwise = kernel == 1
        self.condition = Conditioning(width, classes)
        self.enter = nn.Linear(shape[0], width)
        self.blocks = nn.ModuleList(ConvBlock(width, kernel, expand, len(shape) - 1) for _ in range(depth))
        self.leave = nn.Sequential(nn.LayerNorm(width), zero_init(nn.Linear(width, outputs)))

    def describe(self) -> str:
        blocks = f"{len(self.blocks)} residual blocks [@liu2022convnet]"
        size = f"width {self.width}, expansion {self.expand}"
        if self.kernel == 1:
            return f"a network of {blocks} that denoises each grid cell independently ({size})"
        return f"a convolutional network of {blocks} on the grid ({size}, kernel {self.kernel})"

    def forward(self, x: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor:
        condition = self.condition(log_snr, label)
        h = self.enter(x.movedim(1, -1))  # (B, *grid, width)
        for block in self.blocks:
            h = block(h, condition)
        out: Tensor = self.leave(h).movedim(-1, 1)
        return out


class ConvBlock(nn.Module):
    """Depthwise convolution, norm modulated by the condition, two linear layers, residual (Liu et al. 2022)."""

    def __init__(self, width: int, kernel: int, expand: int, axes: int) -> None:
        super().__init__()
        conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1]
        mixing = conv(width, width, kernel, padding=kernel // 2, groups=width)
        self.depthwise = mixing if kernel > 1 else nn.Identity()
        self.norm = nn.LayerNorm(width)
        self.modulate = zero_init(nn.Linear(width, 2 * width))
        self.up = nn.Linear(width, expand * width)
        self.down = nn.Linear(expand * width, width)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        modulation = self.modulate(condition).view(len(x), *[1] * (x.ndim - 2), -1)
        scale, shift = modulation.chunk(2, dim=-1)
        h = self.depthwise(x.movedim(-1, 1)).movedim(1, -1)
        h = self.norm(h) * (1 + scale) + shift
        out: Tensor = x + self.down(F.gelu(self.up(h)))
        return out
