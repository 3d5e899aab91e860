"""Representations: images to x0 of unit variance, and back where that is possible.

Two stages: a frozen one, `extract`, whose result can be cached on disk and shared by every run of a sweep, and an
affine one, fitted on normal training images only. x0 always has unit variance; otherwise a change of representation
would shift log_snr, and representations could not be compared.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffect.config.description import Described
from diffect.representations.affine import Affine


class Representation(nn.Module, Described, ABC):
    """A frozen stage, then an affine one fitted on normal training images.

    `channels` are those of each scale of the pyramid, which are stacked to C; a single scale without a pyramid.
    """

    def __init__(self, affine: Affine) -> None:
        super().__init__()
        self.affine = affine
        self.channels = affine.scales

    @property
    @abstractmethod
    def identity(self) -> str:
        """Key of the frozen stage for the disk cache; empty where caching would not pay."""

    @abstractmethod
    def extract(self, images: Tensor) -> Tensor:
        """The frozen stage: samples (B, channels, *size) to raw (B, C, *grid), float32.

        Images are uint8, or floats in [0, 1]; other samples are floats on any scale.
        """

    def fit(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Fit the affine stage to batches of raw (B, C, *grid) and labels (B,) of normal training images."""
        self.affine.fit(batches)

    def encode(self, raw: Tensor, label: Tensor | None = None) -> Tensor:
        """x0 (B, C, *grid) from raw (B, C, *grid) and labels (B,), which categories with separate statistics need."""
        x0: Tensor = self.affine(raw, label)
        return x0

    def recognise(self, raw: Tensor) -> Tensor | None:
        """The most likely category (B,) of each image; None if all categories share their statistics."""
        return self.affine.likeliest(raw) if self.affine.groups > 1 else None

    def decode(self, x0: Tensor, label: Tensor | None = None) -> Tensor | None:
        """The samples (B, channels, *size), images in [0, 1], from x0 and labels; None if this is not possible."""
        return None


def as_float(samples: Tensor) -> Tensor:
    """Samples as float32: uint8 is brought to [0, 1], floats are left as they are."""
    return samples.float() / 255 if samples.dtype == torch.uint8 else samples.float()


def local_mean(x: Tensor, window: int) -> Tensor:
    """The mean over a window of cells along each of 1 to 3 axes of x (B, C, *grid); only cells of the grid count."""
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[x.ndim - 2]
    pooled: Tensor = pool(x, window, stride=1, padding=window // 2, count_include_pad=False)
    return pooled
