"""A source of its own, without a file behind it."""

from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffect.config.types import NonNegativeInt, PositiveInt
from diffect.data.sample import IMAGE, Kind, Sample, fingerprint_of


class Speckles:
    """Speckled tiles, some of them with a dark square."""

    kind: Kind = IMAGE

    def __init__(self, count: PositiveInt = 24, seed: NonNegativeInt = 0) -> None:
        self.count, self.seed = count, seed

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

    def fingerprint(self, category: str) -> str:
        return fingerprint_of(self.samples(category))

    def picture(self, key: int, defect: str) -> NDArray[Any]:
        tile = np.random.default_rng((self.seed, key)).integers(90, 160, (64, 64, 3), dtype=np.uint8)
        tile[square(defect)] = 10
        return tile


def square(defect: str) -> NDArray[np.bool_]:
    mask = np.zeros((64, 64), dtype=bool)
    if defect == "square":
        mask[16:40, 16:40] = True
    return mask
