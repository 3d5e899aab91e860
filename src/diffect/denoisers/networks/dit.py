"""A diffusion transformer: patches of the grid as tokens, the condition through adaptive layer norms."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffect.config.check import checked
from diffect.config.types import PositiveInt, Supplied
from diffect.denoisers.base import Network
from diffect.denoisers.networks.conditioning import Conditioning, zero_init


@checked
class DiT(Network):
    """DiT with adaLN-Zero blocks (Peebles & Xie 2023, section 3.2) and fixed 2-D sine-cosine positions.

    Args:
        shape: of x0, (C, h, w); `patch` must divide h and w.
        classes: number of labels, 0 for none.
        outputs: channels of the output.
        patch: side of a token in grid cells.
        width: of the tokens inside.
        depth: number of blocks.
        heads: of the attention.
    """

    positions: Tensor

    def __init__(
        self,
        shape: Supplied[Sequence[int]],
        classes: Supplied[int],
        outputs: Supplied[PositiveInt],
        patch: PositiveInt = 2,
        width: PositiveInt = 192,
        depth: PositiveInt = 4,
        heads: PositiveInt = 4,
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise ValueError(f"denoiser=dit works on grids of two axes; x0 has {len(shape) - 1}: take denoiser=conv")
        channels, *grid = shape
        if any(side % patch for side in grid):
            raise ValueError(
                f"denoiser.network.patch is {patch}; it must divide both sides of the grid, {grid[0]} x {grid[1]}"
            )
        if width % (4 * heads):
            raise ValueError(f"denoiser.network.width is {width}; it must be a multiple of 4 heads = {4 * heads}")
        self.patch, self.width, self.heads = patch, width, heads
        self.condition = Conditioning(width, classes)
        self.enter = nn.Linear(channels * patch**2, width)
        self.register_buffer("positions", _positions(grid[0] // patch, grid[1] // patch, width), persistent=False)
        self.blocks = nn.ModuleList(DiTBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = zero_init(nn.Linear(width, 2 * width))
        self.leave = zero_init(nn.Linear(width, outputs * patch**2))

    def describe(self) -> str:
        layers = f"{len(self.blocks)} layers of {self.heads} heads"
        return f"a diffusion transformer [@peebles2023dit] (patches of {self.patch}, width {self.width}, {layers})"

    def forward(self, x: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor:
        condition = self.condition(log_snr, label)
        tokens = F.pixel_unshuffle(x, self.patch).flatten(2).transpose(1, 2)  # (B, (h/p)(w/p), C p^2)
        h = self.enter(tokens) + self.positions
        for block in self.blocks:
            h = block(h, condition)
        scale, shift = self.modulate(condition)[:, None].chunk(2, dim=-1)
        out = self.leave(self.norm(h) * (1 + scale) + shift).transpose(1, 2)
        height, width = x.shape[-2] // self.patch, x.shape[-1] // self.patch
        return F.pixel_shuffle(out.unflatten(2, (height, width)), self.patch)


class DiTBlock(nn.Module):
    """Self-attention and an MLP, each modulated and gated by the condition; the gates start at zero."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.modulate = zero_init(nn.Linear(width, 6 * width))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale1, shift1, gate1, scale2, shift2, gate2 = self.modulate(condition)[:, None].chunk(6, dim=-1)
        h = self.norm1(x) * (1 + scale1) + shift1
        q, k, v = self.qkv(h).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # each (B, heads, N, d)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + gate1 * self.project(attended)
        out: Tensor = x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)
        return out


def _positions(height: int, breadth: int, width: int) -> Tensor:
    """(height * breadth, width): sines and cosines of the row and of the column, a quarter of the width each."""
    quarter = width // 4
    frequency = torch.exp(-math.log(10000.0) * torch.arange(quarter) / quarter)
    angle = torch.arange(max(height, breadth))[:, None] * frequency  # (max, quarter)
    waves = torch.cat([angle.sin(), angle.cos()], dim=1)  # (max, width / 2)
    rows = waves[:height, None].expand(height, breadth, -1)
    columns = waves[None, :breadth].expand(height, breadth, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1)
