"""The worst region of a map, and sizes in pixels of the original photograph and in millimetres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Bools = NDArray[np.bool_]
Box = tuple[float, float, float, float]  # left, top, width, height

_EIGHT = np.ones((3, 3), dtype=bool)  # touching diagonally is touching, as in the pixel metrics


@dataclass(frozen=True)
class Fitting:
    """How a photograph (height, width) lies in the canvas: the box (top, left, height, width) that it fills there."""

    inner: tuple[int, int, int, int]
    height: int
    width: int

    @property
    def valid(self) -> tuple[slice, slice]:
        """The photograph's rows and columns of the canvas."""
        top, left, height, width = self.inner
        return slice(top, top + height), slice(left, left + width)

    @property
    def steps(self) -> tuple[float, float]:
        """Pixels of the photograph, down and across, that a pixel of the canvas is."""
        return self.height / self.inner[2], self.width / self.inner[3]

    def out(self, top: float, left: float, bottom: float, right: float) -> Box:
        """Edges on the canvas as a box in the photograph, what lies on the padding cut off."""
        down, across = self.steps
        rows = [min(max((edge - self.inner[0]) * down, 0.0), float(self.height)) for edge in (top, bottom)]
        columns = [min(max((edge - self.inner[1]) * across, 0.0), float(self.width)) for edge in (left, right)]
        return columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0]


@dataclass(frozen=True)
class Region:
    """Where a map (H, W) is at its worst: the pixels at or above `level` that hang together with its highest one."""

    mask: Bools  # (H, W), on the canvas
    peak: tuple[int, int]  # row, column
    level: float
    outlined: bool  # whether `level` is the promised threshold of the map, or one of this map's own

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

    It ends where the map falls to the outline's threshold. Where the map nowhere exceeds it, or there is none, it ends
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


def check_scale(scale: float | None) -> float | None:
    """Millimetres that a pixel of the photographs is; a ValueError unless it is positive."""
    if scale is None:
        return None
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < math.inf:
        raise ValueError(f"scale is {scale}; it must be a positive number of millimetres per pixel")
    return float(scale)
