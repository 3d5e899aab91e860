"""Pixels: the image itself as x0."""

from __future__ import annotations

from torch import Tensor

from diffect.representations.affine import Affine
from diffect.representations.base import Representation
from diffect.representations.groups import group_count


class Pixels(Representation):
    """The image itself, each colour channel centred and scaled to unit variance.

    Args:
        classes: how many categories there are.
        conditional: each category has statistics of its own; else all have the same.
    """

    def __init__(self, classes: int = 1, conditional: bool = True) -> None:
        super().__init__(Affine([3], groups=group_count(classes, conditional)))

    @property
    def identity(self) -> str:
        return ""

    def extract(self, images: Tensor) -> Tensor:
        return images.float() / 255

    def decode(self, x0: Tensor, label: Tensor | None = None) -> Tensor:
        return self.affine.inverse(x0, label).clamp(0, 1)
