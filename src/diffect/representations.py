"""Representations: images to x0 of unit variance, and back where that is possible.

Two stages: a frozen one, `extract`, whose result can be cached on disk and shared by every run of a sweep, and an
affine one, fitted on normal training images only. x0 always has unit variance, or a change of representation would
silently shift log_snr and void the comparison.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffect.backbones import Backbone

Scaling = Literal["scaled", "standard", "whitened"]


class Representation(nn.Module, ABC):
    """x0 = matrix (raw - mean), channel by channel at every position; matrix (C, C), mean (C,)."""

    mean: Tensor
    matrix: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("matrix", torch.eye(channels))

    @property
    @abstractmethod
    def identity(self) -> str:
        """Key of the frozen stage for the disk cache; empty where caching would not pay."""

    @abstractmethod
    def extract(self, images: Tensor) -> Tensor:
        """The frozen stage: uint8 images (B, 3, S, S) to raw (B, C, h, w) float32."""

    @abstractmethod
    def _matrix(self, covariance: Tensor) -> Tensor:
        """The fitted matrix (C, C) from the covariance (C, C) of raw over all positions, float64."""

    def fit(self, batches: Iterable[Tensor]) -> None:
        """Mean and matrix from raw batches (B, C, h, w) of normal training images.

        Products are taken in float32 about the first batch's mean, which keeps their sum exact enough, and summed
        in float64.
        """
        count, shift, total, second = 0, torch.zeros(0), torch.zeros(0), torch.zeros(0)
        for raw in batches:
            flat = raw.movedim(1, -1).flatten(0, -2)  # (B h w, C)
            if count == 0:
                shift = flat.mean(0)
                total = torch.zeros_like(shift, dtype=torch.float64)
                second = total.new_zeros(len(shift), len(shift))
            flat = flat - shift
            count += len(flat)
            total += flat.sum(0)
            second += flat.T @ flat
        if count == 0:
            raise ValueError("the representation was given no image to fit on")
        mean = total / count
        covariance = second / count - torch.outer(mean, mean)
        mean += shift
        self.mean.copy_(mean)
        self.matrix.copy_(self._matrix(covariance))

    def encode(self, raw: Tensor) -> Tensor:
        """x0 (B, C, h, w) from raw (B, C, h, w)."""
        centred = raw - self.mean.view(1, -1, 1, 1)
        if self._diagonal:
            return centred * self.matrix.diagonal().view(1, -1, 1, 1)
        return torch.einsum("dc,bchw->bdhw", self.matrix, centred)

    def decode(self, x0: Tensor) -> Tensor | None:
        """Images (B, 3, S, S) in [0, 1] from x0, or None where there is no way back."""
        return None

    @property
    def _diagonal(self) -> bool:
        return True


class Pixels(Representation):
    """The image itself, each colour channel centred and scaled to unit variance."""

    def __init__(self) -> None:
        super().__init__(3)

    @property
    def identity(self) -> str:
        return ""

    def extract(self, images: Tensor) -> Tensor:
        return images.float() / 255

    def _matrix(self, covariance: Tensor) -> Tensor:
        return torch.diag(covariance.diagonal().clamp(min=1e-8).rsqrt())

    def decode(self, x0: Tensor) -> Tensor:
        images = x0 / self.matrix.diagonal().view(1, -1, 1, 1) + self.mean.view(1, -1, 1, 1)
        return images.clamp(0, 1)


class Features(Representation):
    """A pyramid of a frozen backbone, its levels brought to one grid and stacked.

    Args:
        backbone: gives the levels.
        grid: side of the grid in cells; None takes the finest level's own.
        size: side of the images, needed to measure the backbone's maps once.
        scaling: `scaled` one scalar per level (channels keep their relative variance, each level has mean variance 1);
            `standard` every channel to unit variance; `whitened` all channels decorrelated too, by the symmetric
            (ZCA) root, so that every channel stays itself as nearly as possible.
        shrinkage: share of the mean variance added to the diagonal before whitening.
    """

    def __init__(
        self,
        backbone: Backbone,
        size: int,
        grid: int | None = None,
        scaling: Scaling = "standard",
        shrinkage: float = 1e-3,
    ) -> None:
        if scaling not in ("scaled", "standard", "whitened"):
            raise ValueError(f"representation.scaling is {scaling!r}; allowed: scaled, standard, whitened")
        if (grid is not None and grid < 1) or shrinkage <= 0:
            raise ValueError(
                f"representation.grid is {grid} and representation.shrinkage is {shrinkage}: the grid must be 1 or "
                "more (null for the finest level's own), the shrinkage positive"
            )
        with torch.no_grad():
            maps = backbone.maps(torch.zeros(1, 3, size, size))
        super().__init__(sum(m.shape[1] for m in maps))
        self._frozen = (backbone,)  # in a tuple: torch then neither moves it nor puts it in a checkpoint
        self.levels = [m.shape[1] for m in maps]
        self.grid = grid or max(m.shape[-1] for m in maps)
        self.scaling, self.shrinkage = scaling, shrinkage

    @property
    def identity(self) -> str:
        return f"{self._frozen[0].identity}:grid{self.grid}"

    def extract(self, images: Tensor) -> Tensor:
        (backbone,) = self._frozen
        backbone.to(images.device)
        with torch.no_grad():
            maps = backbone.maps(images.float() / 255)
        return torch.cat([_to_grid(m.float(), self.grid) for m in maps], dim=1)

    def _matrix(self, covariance: Tensor) -> Tensor:
        variance = covariance.diagonal().clamp(min=1e-8)
        if self.scaling == "standard":
            return torch.diag(variance.rsqrt())
        if self.scaling == "scaled":
            scalars = [level.mean().rsqrt().expand(len(level)) for level in variance.split(self.levels)]
            return torch.diag(torch.cat(scalars))
        # Correlations are whitened, not covariances: levels of large raw variance must not drown the others.
        std = variance.sqrt()
        correlation = covariance / torch.outer(std, std)
        values, vectors = torch.linalg.eigh(correlation)
        root = (values.clamp(min=0) + self.shrinkage).rsqrt()
        whitening = (vectors * root) @ vectors.T / std
        # What shrinkage took is given back, so that the mean variance is 1.
        achieved = (whitening @ covariance @ whitening.T).diagonal().mean()
        return whitening / achieved.sqrt()

    @property
    def _diagonal(self) -> bool:
        return self.scaling != "whitened"


def _to_grid(maps: Tensor, grid: int) -> Tensor:
    """Feature maps (B, C, h, w) on a grid of (grid, grid): averaged down, or interpolated up."""
    if maps.shape[-1] > grid:
        return F.adaptive_avg_pool2d(maps, grid)
    if maps.shape[-1] < grid:
        return F.interpolate(maps, size=(grid, grid), mode="bilinear", align_corners=False)
    return maps
