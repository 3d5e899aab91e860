"""A network of its own, and what it imports."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffect.config.check import checked
from diffect.config.types import PositiveInt, Supplied
from diffect.denoisers.base import Network
from outside.layers import cell_by_cell


@checked
class Tiny(Network):
    """Two layers that see each cell by itself."""

    def __init__(self, shape: Supplied[Sequence[int]], classes: Supplied[int], width: PositiveInt = 8) -> None:
        super().__init__()
        self.enter, self.leave = cell_by_cell(shape[0] + 1, width), cell_by_cell(width, shape[0])

    def forward(self, x: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor:
        level = log_snr.view(-1, 1, *[1] * (x.ndim - 2)).expand(-1, 1, *x.shape[2:])
        hidden = torch.cat([x, level], dim=1).movedim(1, -1)
        return self.leave(torch.relu(self.enter(hidden))).movedim(-1, 1)
