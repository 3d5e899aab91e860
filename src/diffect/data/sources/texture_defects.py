"""The five defects of the built-in test images, drawn on grey textures, each with its exact mask.

They are what the test measures. None is of a kind that `diffect.data.synthetic` draws for training and tuning: nothing
is cut, pasted, warped, blurred or covered, and no thin line or small spot is drawn. A defect is a function
(crop, rng) -> (changed values, support). Afterwards every pixel outside the support is the original, and every pixel
inside it differs by at least `VISIBLE` grey levels, so the mask is exact and has no holes. Changed values stay within
the range of the crop, so that no extreme value gives a defect away. Defects lie anywhere, also across the border.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

VISIBLE = 6  # grey levels
SMALLEST = 0.004  # of the crop's area: a defect of which less is seen is drawn again

Field = NDArray[np.float64]
Support = NDArray[np.bool_]
Defect = Callable[[Field, np.random.Generator], tuple[Field, Support]]


def apply(kind: str, crop: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A crop (H, W) with one defect of this kind, and its mask (H, W) of 0 and 1, which is never empty."""
    while True:
        changed, support = DEFECTS[kind](crop.astype(np.float64), rng)
        if np.count_nonzero(support) >= SMALLEST * crop.size:
            return _settle(crop, changed, support), support.astype(np.uint8)


def _settle(crop: NDArray[np.uint8], changed: Field, support: Support) -> NDArray[np.uint8]:
    low, high = int(crop.min()), int(crop.max())
    before = crop.astype(np.int64)
    after = np.clip(np.rint(changed), low, high).astype(np.int64)
    # A pixel that happened to keep its value is moved by the least visible amount, to where there is room.
    up = np.where(before + VISIBLE > high, False, (after >= before) | (before - VISIBLE < low))
    moved = np.where(up, before + VISIBLE, before - VISIBLE)
    after = np.where(np.abs(after - before) < VISIBLE, moved, after)
    return np.where(support, after, before).astype(np.uint8)


def bump(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A round dome below the surface, lit on one flank and shaded on the other."""
    rows, columns = _around(rng, crop.shape[0], radius := rng.uniform(0.1, 0.2))
    reach = np.hypot(rows, columns) / radius
    light = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(light) * rows + np.sin(light) * columns) / radius * np.sqrt(np.clip(1 - reach**2, 0, None))
    return crop + rng.uniform(5, 11) * _relief(crop) * slope, reach < 0.95


def contrast(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A spot where the texture has the same mean and a higher contrast."""
    mean = ndimage.gaussian_filter(crop, 0.06 * crop.shape[0])
    return mean + rng.uniform(2.5, 4.0) * (crop - mean), _blob(rng, crop.shape[0], rng.uniform(0.12, 0.22)) < 1


def crease(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A straight fold from border to border, sharp on one side and fading out on the other."""
    size = crop.shape[0]
    angle, width = rng.uniform(0, 2 * np.pi), rng.uniform(0.05, 0.11)
    across = np.tensordot([np.sin(angle), np.cos(angle)], np.mgrid[:size, :size] / size, 1)
    depth = (across - rng.uniform(across.min() - width, across.max())) / width  # 0 at the sharp side, 1 where it ends
    return crop + _sign(rng) * rng.uniform(2.5, 5.0) * _relief(crop) * (1.2 - depth), (depth >= 0) & (depth < 1)


def grooves(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A spot that a brush has combed: parallel grooves at equal distances."""
    size = crop.shape[0]
    angle, period = rng.uniform(0, np.pi), rng.uniform(0.05, 0.1)
    across = np.tensordot([np.sin(angle), np.cos(angle)], np.mgrid[:size, :size] / size, 1)
    waves = np.sin(2 * np.pi * across / period)
    return crop + rng.uniform(1.5, 3.0) * _relief(crop) * waves, _blob(rng, size, rng.uniform(0.11, 0.2)) < 1


def ring(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """The rim of a dried drop, sharp outside and fading out inwards."""
    reach = _blob(rng, crop.shape[0], rng.uniform(0.14, 0.26))
    inner = rng.uniform(0.65, 0.8)
    depth = (reach - inner) / (1 - inner)
    return crop + _sign(rng) * rng.uniform(2.5, 5.0) * _relief(crop) * (0.2 + depth), (depth >= 0) & (depth < 1)


DEFECTS: dict[str, Defect] = {
    "bump": bump,
    "contrast": contrast,
    "crease": crease,
    "grooves": grooves,
    "ring": ring,
}


def _relief(crop: Field) -> float:
    """What a defect has to stand out from, in grey levels.

    The geometric mean of the texture's standard deviation and that of its finest detail: on smooth brick a
    faint mark is as hard to miss as a strong one on gravel.
    """
    detail = crop - ndimage.gaussian_filter(crop, 2.0)
    return float(np.sqrt(crop.std() * detail.std()))


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


def _around(rng: np.random.Generator, size: int, radius: float) -> Field:
    """Rows and columns (2, H, W), in sides of the crop, from a place where a disc of this radius can be seen."""
    grid: Field = np.mgrid[:size, :size] / size - rng.uniform(-radius, 1 + radius, 2)[:, None, None]
    return grid


def _blob(rng: np.random.Generator, size: int, radius: float) -> Field:
    """(H, W): the distance from the centre of a smooth irregular spot, 1 at its rim, which is about `radius` away."""
    rows, columns = _around(rng, size, radius)
    angle = np.arctan2(rows, columns)
    rim = np.full(angle.shape, radius)
    for order in (2, 3, 4, 5):
        rim *= 1 + rng.uniform(0, 0.4 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    reach: Field = np.hypot(rows, columns) / rim
    return reach
