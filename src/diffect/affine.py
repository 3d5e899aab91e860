"""The affine stage of a representation: raw features to x0 of unit variance, by statistics of all cells or of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from diffect.moments import Moments

Scaling = Literal["scaled", "standard", "whitened"]
Statistics = Literal["shared", "cell"]

_CHUNK = 128  # covariances taken apart at a time, in float64


class Affine(nn.Module):
    """x0 = A (raw - m) at each of the P grid cells, with one m (C,) and A (C, C) for all cells or for each its own.

    A cell's own statistics take out what belongs to a place: the rim of a part, and the border of the image, where
    the backbone's zero padding makes features unlike those inside. They are of few samples, one an image, so the
    pooled ones of all cells come in as if they were `prior` images more:

        v_p = (N s_p^2 + prior s^2) / (N + prior),   R_p = (N r_p + prior r) / (N + prior),

    s_p^2 and r_p being the cell's variances and correlations over N images, s^2 and r their means over all cells. A
    variance counts as at least `floor` s^2: a cell that hardly varies, plain background, must not be blown up.

    Args:
        levels: channels of each level of the pyramid.
        scaling: `scaled`, one scalar per level (channels keep their relative variance, each level has mean variance 1);
            `standard`, every channel to unit variance; `whitened`, all channels decorrelated too, by the symmetric
            (ZCA) root, so that every channel stays itself as nearly as possible.
        statistics: `shared` by all cells, or of each `cell`.
        prior, correlation_prior, floor: see above; for `cell`.
        shrinkage: added to the diagonal of the correlations before whitening.
    """

    mean: Tensor  # (G, C), G = 1 or P
    matrix: Tensor  # of row vectors: (G, C, C) for whitened, else the diagonals (G, C)

    def __init__(
        self,
        levels: Sequence[int],
        scaling: Scaling = "standard",
        statistics: Statistics = "shared",
        prior: float = 20.0,
        correlation_prior: float = 200.0,
        floor: float = 0.5,
        shrinkage: float = 1e-3,
    ) -> None:
        super().__init__()
        if scaling not in ("scaled", "standard", "whitened"):
            raise ValueError(f"representation.scaling is {scaling!r}; allowed: scaled, standard, whitened")
        if statistics not in ("shared", "cell"):
            raise ValueError(f"representation.statistics is {statistics!r}; allowed: shared, cell")
        for key, value in (("prior", prior), ("correlation_prior", correlation_prior), ("shrinkage", shrinkage)):
            if value <= 0:
                raise ValueError(f"representation.{key} is {value}; it must be above 0")
        if floor < 0:
            raise ValueError(f"representation.floor is {floor}; it must be 0 or more")
        self.levels, self.scaling, self.statistics = list(levels), scaling, statistics
        self.prior, self.correlation_prior, self.floor, self.shrinkage = prior, correlation_prior, floor, shrinkage
        # Before the fit the identity; where cells have their own it is sized by the fit, which knows how many.
        groups, channels = int(statistics == "shared"), sum(levels)
        identity = torch.eye(channels).repeat(groups, 1, 1) if scaling == "whitened" else torch.ones(groups, channels)
        self.register_buffer("mean", torch.zeros(groups, channels))
        self.register_buffer("matrix", identity)

    def forward(self, raw: Tensor) -> Tensor:
        """x0 (B, C, h, w) from raw (B, C, h, w)."""
        patches = raw.flatten(2).permute(2, 0, 1) - self.mean[:, None]  # (P, B, C)
        if self.matrix.ndim == 2:
            patches = patches * self.matrix[:, None]
        elif len(self.matrix) == 1:
            patches = patches @ self.matrix[0]
        else:
            patches = torch.bmm(patches, self.matrix)
        return patches.permute(1, 2, 0).unflatten(2, raw.shape[2:])

    def inverse(self, x0: Tensor) -> Tensor:
        """raw (B, C, h, w) from x0 (B, C, h, w), where channels are scaled one by one."""
        patches = x0.flatten(2).permute(2, 0, 1) / self.matrix[:, None] + self.mean[:, None]
        return patches.permute(1, 2, 0).unflatten(2, x0.shape[2:])

    @torch.no_grad()
    def fit(self, batches: Iterable[Tensor]) -> None:
        """Mean and matrix from raw batches (B, C, h, w) of normal training images, in one pass over them.

        Products are taken about the first batch's mean, which keeps float32 sums exact enough.
        """
        moments, shift = None, torch.empty(0)
        for raw in batches:
            patches = raw.flatten(2).permute(2, 0, 1)  # (P, B, C)
            if moments is None:
                own = self.statistics == "cell"
                shift = patches.mean(1) if own else patches.mean((0, 1))[None]
                moments = Moments.none(len(patches), len(patches) if own else 1, shift)
            moments.add(patches - shift[:, None])
        if moments is None:
            raise ValueError("the representation was given no image to fit on")
        centre = moments.average if self.statistics == "cell" else moments.average.mean(0, keepdim=True)
        self.mean = shift + centre
        self.matrix = self._matrices(moments, centre).to(self.mean)

    def _matrices(self, moments: Moments, centre: Tensor) -> Tensor:
        groups = len(moments.second)
        samples = moments.count * len(moments.first) // groups
        chunks = [slice(start, start + _CHUNK) for start in range(0, groups, _CHUNK)]
        variances = torch.cat([_variances(moments.scatter(centre, chunk) / samples) for chunk in chunks])  # (G, C)
        if self.statistics == "cell":
            usual = variances.mean(0)
            variances = torch.maximum(_mixed(variances, usual, samples, self.prior), self.floor * usual)
        if self.scaling == "standard":
            return variances.rsqrt()
        if self.scaling == "scaled":
            levels = [level.mean(1, keepdim=True).expand_as(level) for level in variances.split(self.levels, dim=1)]
            return torch.cat(levels, dim=1).rsqrt()
        # Correlations are whitened, not covariances: levels of large raw variance must not drown the others.
        std = variances.sqrt()

        def correlations(chunk: slice) -> Tensor:
            return moments.scatter(centre, chunk) / samples / (std[chunk][:, :, None] * std[chunk][:, None])

        channels = std.shape[1]
        pooled = sum((correlations(chunk).sum(0) for chunk in chunks), start=std.new_zeros(channels, channels)) / groups
        prior = self.correlation_prior if self.statistics == "cell" else 0.0
        mixed = (_mixed(correlations(chunk), pooled, samples, prior) for chunk in chunks)
        return torch.cat([self._root(one) / std[chunk][:, :, None] for one, chunk in zip(mixed, chunks, strict=True)])

    def _root(self, correlations: Tensor) -> Tensor:
        """(R + shrinkage I)^-1/2 (G, C, C), scaled so that what shrinkage took is given back: mean variance 1."""
        values, vectors = torch.linalg.eigh(correlations)
        values = values.clamp(min=0)
        achieved = (values / (values + self.shrinkage)).mean(1, keepdim=True)
        root = ((values + self.shrinkage) * achieved).rsqrt()
        return (vectors * root[:, None]) @ vectors.mT


def _mixed(own: Tensor, pooled: Tensor, samples: int, prior: float) -> Tensor:
    """A cell's own statistics with the pooled ones as `prior` samples more."""
    return (samples * own + prior * pooled) / (samples + prior)


def _variances(covariances: Tensor) -> Tensor:
    return covariances.diagonal(dim1=1, dim2=2).clamp(min=1e-8)
