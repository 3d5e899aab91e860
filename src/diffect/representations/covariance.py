"""Means and covariances of patches by grid cell, in one pass over batches."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass
class RunningCovariance:
    """Sums over images of deviations d from a shift: count, d (P, C), d d^T (G, C, C), P cells in G groups.

    G is P for one covariance a cell, 1 for a shared one. With a shift near the mean, float32 sums are exact enough.
    """

    count: int
    first: Tensor
    second: Tensor

    @classmethod
    def none(cls, cells: int, groups: int, like: Tensor) -> RunningCovariance:
        """Before any image; C, dtype and device are those of `like` (..., C)."""
        channels = like.shape[-1]
        return cls(0, like.new_zeros(cells, channels), like.new_zeros(groups, channels, channels))

    def add(self, deviation: Tensor) -> None:
        """Add the deviations (P, B, C) of B images."""
        self.count += deviation.shape[1]
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
