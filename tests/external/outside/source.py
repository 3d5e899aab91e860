"""A source of its own, without a file behind it."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffect.config.types import NonNegativeInt, PositiveInt
from diffect.data.sample import IMAGE, Kind, Sample, Source


class Speckles(Source):
    """Speckled tiles, some of them with a dark square."""

    def __init__(self, count: PositiveInt = 24, seed: NonNegativeInt = 0) -> None:
        self.count, self.seed = count, seed

    @property
    def kind(self) -> Kind:
        return IMAGE

    def categories(self) -> list[str]:
        return ["tile"]

    def samples(self, category: str) -> list[Sample]:
        names = [*(("train", "good", n) for n in range(self.count)), *(("test", "good", n) for n in range(4))]
        names += [("test", "square", n) for n in range(4)]
        return [
            Sample(
                category,
                split,  # type: ignore[arg-type]
                f"{split}/{defect}/{number}",
                defect,
                partial(self.picture, key, defect),
                partial(square, defect) if defect == "square" else None,
            )
            for key, (split, defect, number) in enumerate(names)
        ]

    def picture(self, key: int, defect: str) -> NDArray[Any]:
        tile = np.random.default_rng((self.seed, key)).integers(90, 160, (64, 64, 3), dtype=np.uint8)
        tile[square(defect)] = 10
        return tile


def square(defect: str) -> NDArray[np.bool_]:
    mask = np.zeros((64, 64), dtype=bool)
    if defect == "square":
        mask[16:40, 16:40] = True
    return mask
