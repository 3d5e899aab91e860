"""The five defects of the built-in test images, drawn on grey textures, each with its exact mask.

They are what the test measures; `diffect.data.synthetic` draws those that training and tuning use. A defect is a
function (crop, rng) -> (changed values, support). Afterwards every pixel outside the support is the original, and every
pixel inside it differs by at least `VISIBLE` grey levels, so the mask is exact and has no holes. Changed values stay
within the crop's range, so that no extreme value gives a defect away.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

VISIBLE = 6  # grey levels

Field = NDArray[np.float64]
Support = NDArray[np.bool_]
Defect = Callable[[Field, np.random.Generator], tuple[Field, Support]]


def apply(kind: str, crop: NDArray[np.uint8], rng: np.random.Generator) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A crop (H, W) with one defect of this kind, and its mask (H, W) of 0 and 1, which is never empty."""
    while True:
        changed, support = DEFECTS[kind](crop.astype(np.float64), rng)
        if np.count_nonzero(support) >= 40:
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


def scratch(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A thin bent line of one tone, brighter or darker than what it crosses."""
    size = crop.shape[0]
    start, end = _place(rng, size, 0.12), _place(rng, size, 0.12)
    length = size * rng.uniform(0.5, 0.9)
    direction = (end - start) / (np.linalg.norm(end - start) + 1e-9)
    end = np.clip(start + direction * length, 2, size - 3)
    normal = np.array([-direction[1], direction[0]])
    middle = (start + end) / 2 + normal * length * rng.uniform(-0.2, 0.2)
    s = np.linspace(0, 1, 4 * size)[:, None]
    points = (1 - s) ** 2 * start + 2 * s * (1 - s) * middle + s**2 * end  # a quadratic Bezier curve
    drawn = np.ones_like(crop, bool)
    drawn[tuple(np.clip(np.rint(points), 0, size - 1).astype(int).T)] = False
    reach = ndimage.distance_transform_edt(drawn) / (size / 128 * rng.uniform(1.5, 3.6))
    tone = crop.mean() + _sign(rng) * rng.uniform(2, 4.5) * _relief(crop)
    weight = rng.uniform(0.8, 1.0) * np.exp(-(reach**2))
    return crop + weight * (tone - crop), reach < 1.2


def stain(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A soft spot that darkens or lightens the texture and lowers its contrast."""
    blob = _blob(rng, crop.shape[0], rng.uniform(0.13, 0.24))
    weight = np.clip((blob - 0.25) / 0.3, 0, 1)
    tone = crop.mean() + _sign(rng) * rng.uniform(1.2, 3.5) * _relief(crop)
    return crop + weight * rng.uniform(0.6, 0.95) * (tone - crop), blob > 0.35


def cut_paste(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A piece of the same texture, turned and at another scale, with a sharp edge."""
    size = crop.shape[0]
    support = _blob(rng, size, rng.uniform(0.14, 0.26)) > 0.5
    angle = np.deg2rad(rng.uniform(40, 140))
    scale = rng.uniform(2.0, 3.5) if rng.random() < 0.5 else rng.uniform(0.25, 0.5)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    centre = np.full(2, (size - 1) / 2)
    offset = centre - turn @ (centre + rng.uniform(-0.1, 0.1, 2) * size)
    return ndimage.affine_transform(crop, turn, offset=offset, order=1, mode="mirror"), support


def dent(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A round hollow: the texture is drawn out at its centre, lit on one flank and shaded on the other."""
    size = crop.shape[0]
    centre = _place(rng, size, 0.22)
    radius = size * rng.uniform(0.12, 0.22)
    grid: Field = np.mgrid[:size, :size].astype(np.float64) - centre[:, None, None]
    reach = np.sqrt((grid**2).sum(axis=0)) / radius
    depth = np.clip(1 - reach**2, 0, None)
    drawn = grid * (1 - rng.uniform(0.5, 0.9) * depth) + centre[:, None, None]
    warped = ndimage.map_coordinates(crop, drawn, order=1, mode="mirror")
    light = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(light) * grid[0] + np.sin(light) * grid[1]) / radius * np.sqrt(depth)
    return warped + rng.uniform(2, 5) * _relief(crop) * slope, reach < 0.9


def missing(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A piece broken out: a dark, smooth ground below, darker where the rim throws its shadow."""
    support = _blob(rng, crop.shape[0], rng.uniform(0.12, 0.23)) > 0.5
    relief = _relief(crop)
    ground = crop.mean() - rng.uniform(0.8, 2.4) * relief
    noise = ndimage.gaussian_filter(rng.standard_normal(crop.shape), 0.8)
    shadow = np.exp(-ndimage.distance_transform_edt(support) / 3)
    return ground + relief * (0.3 * noise - shadow), support


DEFECTS: dict[str, Defect] = {
    "cut_paste": cut_paste,
    "dent": dent,
    "missing": missing,
    "scratch": scratch,
    "stain": stain,
}


def _place(rng: np.random.Generator, size: int, margin: float) -> NDArray[np.float64]:
    return rng.uniform(margin * size, (1 - margin) * size, 2)


def _relief(crop: Field) -> float:
    """What a defect has to stand out from, in grey levels.

    The geometric mean of the texture's standard deviation and that of its finest detail: on smooth brick a
    faint mark is as hard to miss as a strong one on gravel.
    """
    detail = crop - ndimage.gaussian_filter(crop, 2.0)
    return float(np.sqrt(crop.std() * detail.std()))


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


def _blob(rng: np.random.Generator, size: int, radius: float) -> Field:
    """One smooth irregular spot in [0, 1], about `radius` (share of the side) where it crosses a half."""
    centre = _place(rng, size, 0.2)
    rows, columns = np.mgrid[:size, :size] - centre[:, None, None]
    angle = np.arctan2(rows, columns)
    rim = np.full(angle.shape, radius * size)
    for order in (2, 3, 4, 5):
        rim *= 1 + rng.uniform(0, 0.4 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    reach = np.hypot(rows, columns) / rim
    spot: Field = np.clip(1 - reach / 2, 0, 1)
    return spot
