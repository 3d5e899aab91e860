"""The colours of anomaly maps, the same in all pictures: a scale, maps over images, and lines around defects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

COLOURS = "inferno"  # of matplotlib
OUTLINE = (0, 229, 255)  # a colour that neither photographs of parts nor the maps have
NOTABLE = 3.0  # the middle colour without a threshold: the map is in multiples, or deviations, of normal cells
_MULTIPLES = (2, 4, 8)  # of the way from `low` to `middle`: the ticks above it


@dataclass(frozen=True)
class ColourScale:
    """The colours of a map: black up to `low`, the middle colour at `middle`; high values still differ in colour.

    A value has the colour at u / (1 + u), u = (value - low) / (middle - low).
    """

    low: float
    middle: float

    @classmethod
    def of(cls, outline: float | None) -> ColourScale:
        """From 0 to the threshold of maps, or to `NOTABLE` without one."""
        middle = NOTABLE if outline is None else outline
        return cls(0.0 if middle > 0 else middle - 1, middle)

    def position(self, values: ArrayLike) -> NDArray[np.floating]:
        """Where values of any shape lie on the colour bar, in [0, 1)."""
        above = np.maximum((np.asarray(values) - self.low) / max(self.middle - self.low, 1e-12), 0)
        return np.asarray(above / (1 + above))

    @property
    def ticks(self) -> list[float]:
        """The values that are written beside the colour bar."""
        return [self.low, self.middle, *(self.low + factor * (self.middle - self.low) for factor in _MULTIPLES)]

    def colours(self, values: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Values of any shape (...) as colours (..., 3)."""
        from matplotlib import colormaps

        return np.asarray((colormaps[COLOURS](self.position(values))[..., :3] * 255).round(), dtype=np.uint8)

    def over(self, values: NDArray[np.float32], images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The colours of maps (..., H, W) over images (..., H, W, 3), stronger where a map is higher."""
        weight = self.position(values)[..., None]
        return np.asarray(((1 - weight) * images + weight * self.colours(values)).round(), dtype=np.uint8)


def line_around(mask: NDArray[Any], width: int) -> NDArray[np.bool_]:
    """The pixels outside a mask (H, W) that are at most `width` from it."""
    from scipy.ndimage import binary_dilation

    marked = mask.astype(bool)
    return np.asarray(binary_dilation(marked, np.ones((3, 3)), iterations=width) & ~marked)
