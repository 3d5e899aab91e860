"""Means and covariances of patches by grid cell, in one pass over batches."""

import torch
from torch import Tensor, nn


class RunningCovariance(nn.Module):
    """Sums over images of deviations d from a shift: count, d (P, C), d d^T (G, C, C), P cells in G groups.

    G is P for one covariance a cell, 1 for a shared one. With a shift near the mean, float32 sums are exact enough. The
    sums are buffers, so that a part that keeps them has them in its checkpoints.

    Args:
        cells: P.
        groups: G.
        like: a tensor (..., C) of the dtype and on the device of the sums.
    """

    seen: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, cells: int, groups: int, like: Tensor) -> None:
        super().__init__()
        channels = like.shape[-1]
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64, device=like.device))
        self.register_buffer("first", like.new_zeros(cells, channels))
        self.register_buffer("second", like.new_zeros(groups, channels, channels))

    @property
    def count(self) -> int:
        """How many images were added."""
        return int(self.seen)

    def add(self, deviation: Tensor) -> None:
        """Add the deviations (P, B, C) of B images."""
        self.seen += deviation.shape[1]
        self.first += deviation.sum(1)
        flat = deviation.reshape(len(self.second), -1, deviation.shape[2])
        self.second.baddbmm_(flat.mT, flat)

    @property
    def average(self) -> Tensor:
        """The mean deviation of each cell (P, C)."""
        return self.first / self.count

    def scatter(self, centre: Tensor, groups: slice) -> Tensor:
        """Sums of (d - centre) (d - centre)^T of some groups (g, C, C), float64; centre (P, C) or (1, C).

        Within cells second - n a a^T, a the average, and between them n (a - centre) (a - centre)^T.
        """
        per_group = (len(self.second), -1, self.first.shape[1])
        average = self.average.reshape(per_group)[groups].double()  # (g, P / G, C)
        off = (self.average - centre).reshape(per_group)[groups].double()
        return self.second[groups].double() + self.count * (off.mT @ off - average.mT @ average)
