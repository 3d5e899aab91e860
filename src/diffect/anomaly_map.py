"""From a scorer's components to a map at image resolution and a score; holds what is calibrated on normal images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AnomalyMap(nn.Module):
    """Components to a map (B, S, S) and a score (B,).

    map = blur(upsample(mean_k component_k / scale_k)); scale_k, the mean of component k on held-out normal images,
    makes levels of different difficulty comparable. The score is the map's maximum, or the mean of its top share,
    over the true image, padding excluded.

    Args:
        components: K, the number of components of the scorer.
        size: side S of the map in pixels.
        blur: standard deviation of the Gaussian blur as a share of the map's side, the same look at any size; 0 for
            none. 1/64 is 4 pixels at 256.
        pool: `max`, or `top_mean`, the mean over the top `share` of pixels.
    """

    scale: Tensor

    def __init__(
        self,
        components: int,
        size: int,
        blur: float = 0.015625,
        pool: Literal["max", "top_mean"] = "top_mean",
        share: float = 0.01,
    ) -> None:
        super().__init__()
        if pool not in ("max", "top_mean"):
            raise ValueError(f"pooling.pool is {pool!r}; allowed: max, top_mean")
        if not 0 < share <= 1:
            raise ValueError(f"pooling.share is {share}; it must lie in (0, 1]")
        if blur < 0:
            raise ValueError(f"pooling.blur is {blur}; it must be 0 or more")
        self.size, self.blur, self.pool, self.share = size, blur, pool, share
        self.register_buffer("scale", torch.ones(components))

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Fix the scale of each component from batches of components (B, K, h, w) of normal images."""
        means = torch.cat([components.double().mean((2, 3)) for components in batches])
        self.scale.copy_(means.mean(0).clamp(min=1e-12))

    def map(self, components: Tensor) -> Tensor:
        """(B, S, S) from components (B, K, h, w)."""
        combined = (components / self.scale.view(1, -1, 1, 1)).mean(1, keepdim=True)
        wide = F.interpolate(combined, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return _gaussian_blur(wide, self.blur * self.size)[:, 0]

    def score(self, maps: Tensor, valid: Tensor) -> Tensor:
        """(B,) from maps (B, S, S) and valid (B, S, S), true where the image is and false on padding."""
        scores = []
        for values, inside in zip(maps, valid, strict=True):
            kept = values[inside]
            # The slack absorbs the rounding of decimal shares: 0.07 of 100 pixels are 7, not 8.
            count = 1 if self.pool == "max" else max(1, math.ceil(self.share * kept.numel() - 1e-6))
            scores.append(kept.topk(count).values.mean())
        return torch.stack(scores)


def _gaussian_blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, 1, S, S), separable, cut at 4 sigma, edges mirrored."""
    if sigma == 0:
        return maps
    radius = min(math.ceil(4 * sigma), maps.shape[-1] - 1)
    x = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(maps, (radius, radius, radius, radius), mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
