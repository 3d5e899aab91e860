"""A representation of its own."""

from torch import Tensor
from torch.nn.functional import avg_pool2d

from diffect.config.types import PositiveInt, Supplied
from diffect.representations.affine import Affine
from diffect.representations.base import Representation, as_float


class Blocks(Representation):
    """The mean colour of each block of pixels."""

    def __init__(self, channels: Supplied[int], classes: Supplied[int] = 1, side: PositiveInt = 8) -> None:
        super().__init__(Affine([channels], groups=classes))
        self.side = side

    @property
    def identity(self) -> str:
        return ""

    def extract(self, images: Tensor) -> Tensor:
        return avg_pool2d(as_float(images), self.side)
