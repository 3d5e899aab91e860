"""Representations: images to x0 of unit variance, and back where that is possible.

Two stages: a frozen one, `extract`, whose result can be cached on disk and shared by every run of a sweep, and an
affine one, fitted on normal training images only. x0 always has unit variance, or a change of representation would
silently shift log_snr and void the comparison.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffect.backbones import Backbone

Scaling = Literal["scaled", "standard", "whitened"]
Exposure = Literal["level", "none"]

LUMA = (0.299, 0.587, 0.114)  # of R, G, B
MIDDLE = 0.459  # mean luma of ImageNet, (0.485, 0.456, 0.406) in RGB: what the backbones were trained on
MOST = 8.0


class Representation(nn.Module, ABC):
    """x0 = matrix (raw - mean), channel by channel at every position; matrix (C, C), mean (C,).

    `channels` holds how many channels each level of the pyramid has that is stacked to C; one level if there is none.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.channels = list(channels)
        self.register_buffer("mean", torch.zeros(sum(channels)))
        self.register_buffer("matrix", torch.eye(sum(channels)))

    @property
    @abstractmethod
    def identity(self) -> str:
        """Key of the frozen stage for the disk cache; empty where caching would not pay."""

    @abstractmethod
    def extract(self, images: Tensor) -> Tensor:
        """The frozen stage: uint8 images (B, 3, H, W) to raw (B, C, h, w) float32."""

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
        """Images (B, 3, H, W) in [0, 1] from x0, or None where there is no way back."""
        return None

    @property
    def _diagonal(self) -> bool:
        return True


class Pixels(Representation):
    """The image itself, each colour channel centred and scaled to unit variance."""

    def __init__(self) -> None:
        super().__init__([3])

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
        grid: cells of the grid along the short side, the long side in proportion; None takes the finest level's own.
        scaling: `scaled` one scalar per level (channels keep their relative variance, each level has mean variance 1);
            `standard` every channel to unit variance; `whitened` all channels decorrelated too, by the symmetric
            (ZCA) root, so that every channel stays itself as nearly as possible.
        shrinkage: share of the mean variance added to the diagonal before whitening.
        exposure: `level` multiplies every image to one brightness, see `level_exposure`; `none` takes it as it is.
    """

    def __init__(
        self,
        backbone: Backbone,
        grid: int | None = None,
        scaling: Scaling = "standard",
        shrinkage: float = 1e-3,
        exposure: Exposure = "level",
    ) -> None:
        if scaling not in ("scaled", "standard", "whitened"):
            raise ValueError(f"representation.scaling is {scaling!r}; allowed: scaled, standard, whitened")
        if exposure not in ("level", "none"):
            raise ValueError(f"representation.exposure is {exposure!r}; allowed: level, none")
        if (grid is not None and grid < 1) or shrinkage <= 0:
            raise ValueError(
                f"representation.grid is {grid} and representation.shrinkage is {shrinkage}: the grid must be 1 or "
                "more (null for the finest level's own), the shrinkage positive"
            )
        super().__init__(backbone.channels)
        self._frozen = (backbone,)  # in a tuple: torch then neither moves it nor puts it in a checkpoint
        self.grid, self.scaling, self.shrinkage, self.exposure = grid, scaling, shrinkage, exposure

    @property
    def identity(self) -> str:
        return f"{self._frozen[0].identity}:grid={self.grid or 'own'}:exposure={self.exposure}"

    def extract(self, images: Tensor) -> Tensor:
        (backbone,) = self._frozen
        backbone.to(images.device)
        with torch.no_grad():
            maps = backbone.maps(level_exposure(images) if self.exposure == "level" else images.float() / 255)
        finest = max((m.shape[-2:] for m in maps), key=math.prod)
        scale = self.grid / min(finest) if self.grid else 1
        grid = round(scale * finest[0]), round(scale * finest[1])
        return torch.cat([_to_grid(m.float(), grid) for m in maps], dim=1)

    def _matrix(self, covariance: Tensor) -> Tensor:
        variance = covariance.diagonal().clamp(min=1e-8)
        if self.scaling == "standard":
            return torch.diag(variance.rsqrt())
        if self.scaling == "scaled":
            scalars = [level.mean().rsqrt().expand(len(level)) for level in variance.split(self.channels)]
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


def level_exposure(images: Tensor) -> Tensor:
    """uint8 images (B, 3, H, W) as float32, each multiplied so that its mean luma is that of ImageNet, `MIDDLE`.

    A gain on the whole image cancels, whatever its content, up to the rounding and the clipping of 8 bits. Values
    above 1 stay. The factor is at most `MOST`, so that a black image stays dark.
    """
    # A median or a mean of the darker pixels would not feel clipped highlights, but then these come out too dark, which
    # moves scores further; and they vary more between normal images than the mean does.
    luma = images.sum((2, 3), dtype=torch.float64) @ images.new_tensor(LUMA, dtype=torch.float64)  # (B,)
    luma = luma / (255 * images.shape[2] * images.shape[3])
    factor = (MIDDLE / luma).clamp(max=MOST)
    return images.float() * (factor / 255).float().view(-1, 1, 1, 1)


def _to_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Feature maps (B, C, h, w) on another grid: averaged down, or interpolated up."""
    height, width = maps.shape[-2:]
    if height > grid[0] or width > grid[1]:
        maps = F.adaptive_avg_pool2d(maps, (min(height, grid[0]), min(width, grid[1])))
    if maps.shape[-2:] != grid:
        maps = F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
    return maps
