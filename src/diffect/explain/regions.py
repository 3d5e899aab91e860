"""The worst region of a map, and sizes in pixels of the original photograph and in millimetres."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from diffect.detector.images import Box, Fitting

Bools = NDArray[np.bool_]

_EIGHT = np.ones((3, 3), dtype=bool)  # touching diagonally is touching, as in the pixel metrics


@dataclass(frozen=True)
class Region:
    """Where a map (H, W) is highest: the pixels at or above `level` that are connected with its peak."""

    mask: Bools  # (H, W), on the canvas
    peak: tuple[int, int]  # row, column
    level: float
    outlined: bool  # whether `level` is the promised threshold of maps, or one chosen for this map

    def area(self, fitting: Fitting) -> float:
        """In pixels of the photograph."""
        down, across = fitting.steps
        return float(np.count_nonzero(self.mask)) * down * across

    def box(self, fitting: Fitting) -> Box:
        """In pixels of the photograph."""
        rows, columns = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        return fitting.out(rows[0], columns[0], rows[-1] + 1, columns[-1] + 1)


def worst_region(values: NDArray[np.float32], valid: Bools, outline: float | None) -> Region:
    """The 8-connected region about the highest valid pixel of a map (H, W), padding excluded.

    It ends where the map falls to the threshold `outline`. Where the map nowhere exceeds it, or there is none, it ends
    halfway between the map's median and its peak: the most suspicious place of an image that shows no defect.
    """
    from scipy.ndimage import label

    inside = np.where(valid, values, -np.inf)
    row, column = np.unravel_index(int(inside.argmax()), inside.shape)
    peak = float(inside[row, column])
    outlined = outline is not None and peak > outline
    if outlined and outline is not None:
        level, above = outline, inside > outline
    else:
        level = (float(np.median(values[valid])) + peak) / 2
        above = inside >= level
    regions = label(above, structure=_EIGHT)[0]
    return Region(regions == regions[row, column], (int(row), int(column)), level, outlined)
