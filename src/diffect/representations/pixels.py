"""Pixels: the sample itself as x0."""

from torch import Tensor

from diffect.config.check import checked
from diffect.config.types import PositiveInt, Supplied
from diffect.representations.affine import Affine
from diffect.representations.base import Representation, as_float
from diffect.representations.groups import group_count


@checked
class Pixels(Representation):
    """The sample itself, each channel centred and scaled to unit variance: an image, a series, frames or a volume.

    Args:
        channels: of the samples.
        classes: how many categories there are.
        conditional: each category has separate statistics; else all share theirs.
    """

    def __init__(
        self, channels: Supplied[PositiveInt] = 3, classes: Supplied[PositiveInt] = 1, conditional: bool = True
    ) -> None:
        super().__init__(Affine([channels], groups=group_count(classes, conditional)))

    def describe(self) -> str:
        (channels,) = self.channels
        return f"its values, {'the channel' if channels == 1 else 'each channel'} centred and scaled to unit variance"

    @property
    def identity(self) -> str:
        return ""

    def extract(self, images: Tensor) -> Tensor:
        return as_float(images)

    def decode(self, x0: Tensor, label: Tensor | None = None) -> Tensor:
        return self.affine.inverse(x0, label).clamp(0, 1)
