"""Means and covariances of patches by grid cell, in one pass over batches."""

import torch
from torch import Tensor, nn


def mean_patch(patches: Tensor, by_cell: bool) -> Tensor:
    """The mean of patches (P, B, C), of each cell (P, C) or of all (1, C); 0 where all are missing."""
    return (patches.nanmean(1) if by_cell else patches.nanmean((0, 1))[None]).nan_to_num()


class RunningCovariance(nn.Module):
    """Sums over images of deviations d from a shift: count, d (P, C), d d^T (G, C, C), P cells in G groups.

    G is P for one covariance a cell, 1 for a shared one. With a shift near the mean, float32 sums are exact enough. The
    sums are buffers, so that a part that keeps them has them in its checkpoints. Missing cells do not count.

    Args:
        cells: P.
        groups: G.
        like: a tensor (..., C) of the dtype and on the device of the sums.
    """

    seen: Tensor
    missing: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, cells: int, groups: int, like: Tensor) -> None:
        super().__init__()
        channels = like.shape[-1]
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64, device=like.device))
        self.register_buffer("missing", torch.zeros(cells, dtype=torch.int64, device=like.device), persistent=False)
        self.register_buffer("first", like.new_zeros(cells, channels))
        self.register_buffer("second", like.new_zeros(groups, channels, channels))

    @property
    def count(self) -> int:
        """How many images were added."""
        return int(self.seen)

    @property
    def counts(self) -> Tensor:
        """In how many images each cell is not missing, (P,)."""
        return self.seen - self.missing

    @property
    def samples(self) -> Tensor:
        """How many cells of images each covariance is of, (G,)."""
        return self.counts.view(len(self.second), -1).sum(1)

    def add(self, deviation: Tensor) -> None:
        """Add the deviations (P, B, C) of B images."""
        absent = deviation[..., 0].isnan()
        self.seen += deviation.shape[1]
        if absent.any():
            self.missing += absent.sum(1)
            deviation = deviation.masked_fill(absent[..., None], 0)
        self.first += deviation.sum(1)
        flat = deviation.reshape(len(self.second), -1, deviation.shape[2])
        self.second.baddbmm_(flat.mT, flat)

    @property
    def average(self) -> Tensor:
        """The mean deviation of each cell (P, C), 0 where it is always missing."""
        return self.first / self.counts.clamp(min=1)[:, None]

    @property
    def overall(self) -> Tensor:
        """The mean deviation over all cells (1, C)."""
        return self.first.sum(0, keepdim=True) / self.counts.sum()

    def scatter(self, centre: Tensor, groups: slice) -> Tensor:
        """Sums of (d - centre) (d - centre)^T of some groups (g, C, C), float64; centre (P, C) or (1, C).

        Within cells second - n a a^T, n the count and a the average of a cell, and between them
        n (a - centre) (a - centre)^T.
        """
        per_group = (len(self.second), -1, self.first.shape[1])
        average = self.average.reshape(per_group)[groups].double()  # (g, P / G, C)
        off = (self.average - centre).reshape(per_group)[groups].double()
        counts = self.counts.view(len(self.second), -1, 1)[groups]
        return self.second[groups].double() + off.mT @ (counts * off) - average.mT @ (counts * average)

    def covariance(self, centre: Tensor, groups: slice, fitted: int = 0) -> Tensor:
        """`scatter` over the number of samples, of which a centre that was fitted takes `fitted`; 0 of no samples."""
        return self.scatter(centre, groups) / (self.samples[groups] - fitted).clamp(min=1)[:, None, None]
