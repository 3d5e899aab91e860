"""Features: the pyramid of a frozen backbone as x0."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from diffect.representations.affine import Affine, Scaling, Statistics
from diffect.representations.backbones import Backbone
from diffect.representations.base import Representation
from diffect.representations.groups import group_count

Exposure = Literal["level", "none"]


LUMA = (0.299, 0.587, 0.114)  # of R, G, B


MIDDLE = 0.459  # mean luma of ImageNet, (0.485, 0.456, 0.406) in RGB: what the backbones were trained on


MOST = 8.0


class Features(Representation):
    """A pyramid of a frozen backbone, its levels brought to one grid and stacked.

    Args:
        backbone: gives the levels.
        grid: cells of the grid along the short side, the long side in proportion; None takes the finest level's own.
        scaling, statistics, prior, correlation_prior, floor, shrinkage: of the affine stage, see `Affine`.
        exposure: `level` multiplies every image to one brightness, see `level_exposure`; `none` takes it as it is.
        classes: how many categories there are.
        conditional: each category has statistics of its own; else all have the same.
    """

    def __init__(
        self,
        backbone: Backbone,
        grid: int | None = None,
        scaling: Scaling = "standard",
        statistics: Statistics = "shared",
        prior: float = 20.0,
        correlation_prior: float = 200.0,
        floor: float = 0.5,
        shrinkage: float = 1e-3,
        exposure: Exposure = "level",
        classes: int = 1,
        conditional: bool = True,
    ) -> None:
        if exposure not in ("level", "none"):
            raise ValueError(f"representation.exposure is {exposure!r}; allowed: level, none")
        if grid is not None and grid < 1:
            raise ValueError(f"representation.grid is {grid}; it must be 1 or more, or null for the finest level's own")
        groups = group_count(classes, conditional)
        super().__init__(
            Affine(backbone.channels, scaling, statistics, prior, correlation_prior, floor, shrinkage, groups)
        )
        self._frozen = (backbone,)  # in a tuple: torch then neither moves it nor puts it in a checkpoint
        self.grid, self.exposure = grid, exposure

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
