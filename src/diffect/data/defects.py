"""Five synthetic defects on grey textures, each with its exact mask.
 A defect is a function (crop, rng) -> (changed values, support). Afterwards every pixel outside the support
is the original, and every pixel inside it differs by at least `VISIBLE` grey levels, so that the mask is
neither a guess nor full of holes. Changed values stay within the crop's own range: an extreme value gives
nothing away.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

VISIBLE = 6  # grey levels

Field = NDArray[np.float64]
Support = NDArray[np.bool_]
Defect = Callable[[Field, np.random.Generator], tuple[Field, Support]]


def apply(
    kind: str, crop: NDArray[np.uint8], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
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
    """A thin bent line, brighter or darker than what it crosses."""
    size = crop.shape[0]
    start, end = _place(rng, size, 0.12), _place(rng, size, 0.12)
    length = size * rng.uniform(0.25, 0.6)
    direction = (end - start) / (np.linalg.norm(end - start) + 1e-9)
    end = np.clip(start + direction * length, 2, size - 3)
    normal = np.array([-direction[1], direction[0]])
    middle = (start + end) / 2 + normal * length * rng.uniform(-0.2, 0.2)
    s = np.linspace(0, 1, 4 * size)[:, None]
    points = (1 - s) ** 2 * start + 2 * s * (1 - s) * middle + s**2 * end  # a quadratic Bezier curve
    drawn = np.ones_like(crop, bool)
    drawn[tuple(np.rint(points).astype(int).T)] = False
    distance = ndimage.distance_transform_edt(drawn)
    profile = np.exp(-((distance / rng.uniform(0.8, 1.8)) ** 2))
    strength = _sign(rng) * rng.uniform(22, 60)
    added = strength * profile
    return crop + added, np.abs(added) >= VISIBLE


def stain(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A soft spot that darkens or lightens the texture and lowers its contrast."""
    blob = _blob(rng, crop.shape[0], rng.uniform(0.10, 0.2))
    support = blob > 0.35
    weight = np.clip((blob - 0.2) / 0.5, 0, 1)
    tone = crop.mean() + _sign(rng) * rng.uniform(0.5, 1.2) * max(crop.std(), 20)
    return crop + weight * rng.uniform(0.35, 0.7) * (tone - crop), support


def cut_paste(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A piece of the same texture, turned and at another scale, with a sharp edge."""
    size = crop.shape[0]
    support = _blob(rng, size, rng.uniform(0.10, 0.19)) > 0.5
    angle = np.deg2rad(rng.uniform(40, 140))
    scale = rng.uniform(1.4, 2.2) if rng.random() < 0.5 else rng.uniform(0.45, 0.7)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    centre = np.full(2, (size - 1) / 2)
    source = ndimage.affine_transform(
        crop, turn, offset=centre - turn @ centre + rng.uniform(-9, 9, 2), order=1, mode="mirror"
    )
    return source, support


def dent(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A round hollow: the texture is drawn towards its centre, lit on one flank and shaded on the other."""
    size = crop.shape[0]
    centre = _place(rng, size, 0.22)
    radius = size * rng.uniform(0.09, 0.17)
    grid: Field = np.mgrid[:size, :size].astype(np.float64) - centre[:, None, None]
    reach = np.sqrt((grid**2).sum(axis=0)) / radius
    depth = np.clip(1 - reach**2, 0, None) ** 2
    pulled = grid * (1 + rng.uniform(0.3, 0.9) * depth) + centre[:, None, None]
    warped = ndimage.map_coordinates(crop, pulled, order=1, mode="mirror")
    light = rng.uniform(0, 2 * np.pi)
    slope = (np.cos(light) * grid[0] + np.sin(light) * grid[1]) / radius * np.clip(1 - reach**2, 0, None)
    return warped + rng.uniform(60, 130) * slope, reach < 0.85


def missing(crop: Field, rng: np.random.Generator) -> tuple[Field, Support]:
    """A piece broken out: a dark, smooth ground below, darker where the rim throws its shadow."""
    size = crop.shape[0]
    support = _blob(rng, size, rng.uniform(0.09, 0.17)) > 0.5
    ground = np.percentile(crop, rng.uniform(5, 30))
    noise = ndimage.gaussian_filter(rng.standard_normal(crop.shape), 0.8)
    inside = ndimage.distance_transform_edt(support)
    shadow = np.exp(-inside / 3)
    return ground + 8 * noise - 18 * shadow, support


DEFECTS: dict[str, Defect] = {
    "cut_paste": cut_paste,
    "dent": dent,
    "missing": missing,
    "scratch": scratch,
    "stain": stain,
}


def _place(rng: np.random.Generator, size: int, margin: float) -> NDArray[np.float64]:
    return rng.uniform(margin * size, (1 - margin) * size, 2)


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
