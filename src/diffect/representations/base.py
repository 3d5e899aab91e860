"""Representations: images to x0 of unit variance, and back where that is possible.

Two stages: a frozen one, `extract`, whose result can be cached on disk and shared by every run of a sweep, and an
affine one, fitted on normal training images only. x0 always has unit variance, or a change of representation would
silently shift log_snr and void the comparison.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable

from torch import Tensor, nn

from diffect.representations.affine import Affine


class Representation(nn.Module, ABC):
    """A frozen stage, then an affine one fitted on normal training images.

    `channels` holds how many channels each level of the pyramid has that is stacked to C; one level if there is none.
    """

    def __init__(self, affine: Affine) -> None:
        super().__init__()
        self.affine = affine
        self.channels = affine.levels

    @property
    @abstractmethod
    def identity(self) -> str:
        """Key of the frozen stage for the disk cache; empty where caching would not pay."""

    @abstractmethod
    def extract(self, images: Tensor) -> Tensor:
        """The frozen stage: uint8 images (B, 3, H, W) to raw (B, C, h, w) float32."""

    def fit(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Fit the affine stage to batches of raw (B, C, h, w) and labels (B,) of normal training images."""
        self.affine.fit(batches)

    def encode(self, raw: Tensor, label: Tensor | None = None) -> Tensor:
        """x0 (B, C, h, w) from raw (B, C, h, w) and labels (B,), which are asked for where categories differ."""
        x0: Tensor = self.affine(raw, label)
        return x0

    def recognise(self, raw: Tensor) -> Tensor | None:
        """The labels (B,) of the categories that images are likeliest to be of; None where all have one statistics."""
        return self.affine.likeliest(raw) if self.affine.groups > 1 else None

    def decode(self, x0: Tensor, label: Tensor | None = None) -> Tensor | None:
        """Images (B, 3, H, W) in [0, 1] from x0 and labels, or None where there is no way back."""
        return None
