"""Synthetic defects for training and tuning, drawn on any photograph of a normal part, each with its exact mask.

Those of the built-in test images are in `diffect.data.sources.texture_defects`. The defects drawn here stand in for
real ones that nobody has labelled: to train a head that tells defects from normal variation, and to choose settings
without the test set. None is meant to look like a real defect of some product; together they span what defects do: they
add something (cut_paste, texture, spot), remove something (missing, blur), draw thin lines (scar, crack), move what is
there (warp), or change its tone (shade).

A defect is a function (image, rng) -> (changed, support), image and changed float (H, W, 3) in [0, 255]. Sizes are
shares of the image's short side but never below a few pixels, strengths are relative to the image's contrast, and both
range from hardly visible to plain.
"""

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

VERSION = 2  # of the recipe; raise it when a pixel changes
VISIBLE = 4.0  # grey levels: a pixel that changed by less is not part of the defect
SMALLEST = 12  # pixels: a defect with fewer is drawn again
RADIUS = 3.0  # pixels: no blob is smaller
WIDTH = 1.5  # pixels: no line is thinner
TRIES = 50

Image = NDArray[np.float64]
Field = NDArray[np.float64]
Defect = Callable[[Image, np.random.Generator], tuple[Image, Field]]


def check_kinds(kinds: Iterable[str]) -> list[str]:
    """The kinds, sorted and each once, or all where none is named; ValueError for one that does not exist."""
    chosen = sorted(set(kinds)) or sorted(DEFECTS)
    unknown = [kind for kind in chosen if kind not in DEFECTS]
    if unknown:
        raise ValueError(f"kinds names the synthetic defect {unknown[0]}; allowed: {', '.join(DEFECTS)}")
    return chosen


def apply(
    image: NDArray[np.uint8], rng: np.random.Generator, kinds: Iterable[str] = ()
) -> tuple[NDArray[np.uint8], NDArray[np.bool_], str]:
    """An image (H, W, 3) with one defect of a kind drawn from `kinds` (all by default), its mask (H, W), its kind.

    The mask holds the pixels that changed visibly, and nothing outside it changed. ValueError for an unknown kind, or
    where no visible defect could be drawn (an image of one colour shows neither blur nor warp).
    """
    names = check_kinds(kinds)
    original = image.astype(np.float64)
    for _ in range(TRIES):
        kind = names[rng.integers(len(names))]
        changed, support = DEFECTS[kind](original, rng)
        changed = np.clip(np.rint(original + support[..., None] * (changed - original)), 0, 255)
        visible = np.abs(changed - original).max(axis=2) >= VISIBLE
        # Holes of a pixel or two, where old and new happened to agree, belong to the defect.
        mask = ndimage.binary_closing(np.pad(visible, 2), iterations=2)[2:-2, 2:-2] | visible
        if np.count_nonzero(visible) >= SMALLEST:
            return np.where(mask[..., None], changed, original).astype(np.uint8), mask, kind
    raise ValueError(f"no defect of the kinds {', '.join(names)} shows in an image of so little contrast")


def cut_paste(image: Image, rng: np.random.Generator) -> tuple[Image, Field]:
    """A piece from elsewhere in the image, turned and rescaled (Li et al. 2021, CutPaste)."""
    support = _blob(rng, image.shape[:2], _log_uniform(rng, 0.02, 0.2))
    angle, scale = rng.uniform(0, 2 * np.pi), _log_uniform(rng, 0.5, 2.0)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
    centre, source = _centre(support), _place(rng, image.shape[:2])
    return _sample(image, turn, source - turn @ centre), support


def texture(image: Image, rng: np.random.Generator) -> tuple[Image, Field]:
    """Foreign texture shining through smooth noise cut at a level (Zavrtanik et al. 2021, DRAEM)."""
    shape, side = image.shape[:2], min(image.shape[:2])
    cells = _log_uniform(rng, 0.04, 0.3) * side
    region = _noise(rng, shape, cells)
    support = ((region > rng.uniform(0.9, 1.6)) & (_blob(rng, shape, 0.3) > 0)).astype(np.float64)
    grain = _noise(rng, shape, _log_uniform(rng, 0.004, 0.06) * side)[..., None]
    tint = _tint(image, rng) * _contrast(image)
    foreign = _tone(image, rng, 1.5) + tint + grain * _contrast(image) * rng.uniform(0.3, 1.5)
    return image + rng.uniform(0.3, 1.0) * (foreign - image), support


def scar(image: Image, rng: np.random.Generator) -> tuple[Image, Field]:
    """A thin, bent stroke of one tone, tapering off at its ends."""
    shape, side = image.shape[:2], min(image.shape[:2])
    length, width = _log_uniform(rng, 0.05, 0.6) * side, max(_log_uniform(rng, 0.003, 0.02) * side, WIDTH)
    start, angle = _place(rng, shape), rng.uniform(0, 2 * np.pi)
    bend = rng.uniform(-1.5, 1.5)
    s = np.linspace(0, 1, max(8, int(2 * length)))
    heading = angle + bend * s
    path = start + np.cumsum(np.stack([np.sin(heading), np.cos(heading)], 1), 0) * length / len(s)
    return _tone(image, rng, 2.0) * np.ones_like(image), _stroke(shape, path, width * np.sqrt(np.sin(np.pi * s) + 0.1))


def crack(image: Image, rng: np.random.Generator) -> tuple[Image, Field]:
    """A hairline that wanders and forks, darker (or, rarely, brighter) than its surroundings."""
    shape, side = image.shape[:2], min(image.shape[:2])
    length, width = _log_uniform(rng, 0.1, 0.9) * side, max(_log_uniform(rng, 0.0025, 0.008) * side, WIDTH)
    start, angle = _place(rng, shape), rng.uniform(0, 2 * np.pi)
    support = np.zeros(shape)
    for branch in range(1 + int(rng.integers(3))):
        steps = max(8, int(length / (1 + branch)))
        heading = angle + (branch > 0) * rng.uniform(-1, 1) + np.cumsum(rng.normal(0, 0.12, steps))
        path = start + np.cumsum(np.stack([np.sin(heading), np.cos(heading)], 1), 0)
        support = np.maximum(support, _stroke(shape, path, np.full(steps, width)))
        start = path[rng.integers(steps)]
    side_of = -1.0 if rng.random() < 0.8 else 1.0
    return image + side_of * _contrast(image) * _log_uniform(rng, 0.4, 3.0), support


def spot(image: Image, rng: np.random.Generator) -> tuple[Image, Field]:
    """One to four small soft spots: pores, splashes, specks of dust."""
    support = np.zeros(image.shape[:2])
    for _ in range(int(rng.integers(1, 5))):
        support = np.maximum(support, _blob(rng, image.shape[:2], _log_uniform(rng, 0.006, 0.04)))
    return _tone(image, rng, 2.5) * np.ones_like(image), ndimage.gaussian_filter(support, 0.7)


def blur(image: Image, rng: np.random.Generator) -> tuple[Image, Field]:
    """A region that has lost its fine detail."""
    support = _blob(rng, image.shape[:2], _log_uniform(rng, 0.06, 0.25))
    sigma = _log_uniform(rng, 0.01, 0.04) * min(image.shape[:2])
    return ndimage.gaussian_filter(image, (sigma, sigma, 0)), ndimage.gaussian_filter(support, 1.5)


def missing(image: Image, rng: np.random.Generator) -> tuple[Image, Field]:
    """A piece broken out: plain ground of a tone found elsewhere in the image, with a shadow along the rim."""
    support = _blob(rng, image.shape[:2], _log_uniform(rng, 0.03, 0.2))
    smooth = ndimage.gaussian_filter(image, (2, 2, 0))
    shadow = np.exp(-ndimage.distance_transform_edt(support > 0.5) / 3)[..., None]
    return _pixel(smooth, rng) - rng.uniform(0, 1.5) * _contrast(image) * shadow, support


def warp(image: Image, rng: np.random.Generator) -> tuple[Image, Field]:
    """A region pushed, pinched or swollen."""
    shape = image.shape[:2]
    radius = max(_log_uniform(rng, 0.04, 0.2) * min(shape), RADIUS)
    centre = _place(rng, shape)
    grid = np.mgrid[: shape[0], : shape[1]].astype(np.float64) - centre[:, None, None]
    reach = np.sqrt((grid**2).sum(0)) / radius
    weight = np.clip(1 - reach**2, 0, None)
    push = rng.normal(0, 0.35, 2)[:, None, None] * radius
    drawn = grid * (1 + rng.uniform(-0.6, 0.6) * weight) + push * weight + centre[:, None, None]
    warped = [ndimage.map_coordinates(image[..., c], drawn, order=1, mode="mirror") for c in range(3)]
    return np.stack(warped, -1), (reach < 1).astype(np.float64)


def shade(image: Image, rng: np.random.Generator) -> tuple[Image, Field]:
    """A soft stain that darkens, lightens or tints what lies under it."""
    shape = image.shape[:2]
    radius = _log_uniform(rng, 0.05, 0.3)
    support = ndimage.gaussian_filter(_blob(rng, shape, radius), radius * min(shape) / 4)
    depth = _sign(rng) * _log_uniform(rng, 0.4, 2.0) * (1 + _tint(image, rng))
    return image + _contrast(image) * depth, support


DEFECTS: dict[str, Defect] = {
    "blur": blur,
    "crack": crack,
    "cut_paste": cut_paste,
    "missing": missing,
    "scar": scar,
    "shade": shade,
    "spot": spot,
    "texture": texture,
    "warp": warp,
}


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _sign(rng: np.random.Generator) -> float:
    return 1.0 if rng.random() < 0.5 else -1.0


def _place(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Where a defect lies: also somewhat outside, so that a part of it is seen at the border."""
    return rng.uniform(-0.1, 1.1, 2) * np.array(shape[:2])


def _pixel(image: Image, rng: np.random.Generator) -> NDArray[np.float64]:
    """The colour (3,) of a random pixel."""
    row, column = (rng.random(2) * image.shape[:2]).astype(int)
    colour: NDArray[np.float64] = image[row, column]
    return colour


def _contrast(image: Image) -> float:
    """The image's standard deviation in grey levels, between bounds that keep defects on flat parts visible."""
    return float(np.clip(image.mean(2).std(), 8, 40))


def _tone(image: Image, rng: np.random.Generator, strength: float) -> Image:
    """A colour (1, 1, 3): that of a point of the image, made darker or lighter."""
    shift = _sign(rng) * _log_uniform(rng, 0.25, 1.0) * strength * _contrast(image)
    colour: Image = np.clip(_pixel(image, rng) + shift, 0, 255)[None, None]
    return colour


def _tint(image: Image, rng: np.random.Generator) -> NDArray[np.float64]:
    """A random cast (3,) over the colour channels; none on a grey image, where colour would give defects away."""
    grey = bool((image == image[..., :1]).all())
    return np.zeros(3) if grey else rng.normal(0, 0.3, 3)


def _noise(rng: np.random.Generator, shape: tuple[int, ...], cells: float) -> Field:
    """Smooth noise of unit variance whose grains are about `cells` pixels wide."""
    sigma = max(cells / 2.5, 0.5)
    coarse = max(1.0, sigma / 2)  # drawn on a coarser grid: a wide filter on all pixels is slow
    small = [int(np.ceil(side / coarse)) + 2 for side in shape]
    field = ndimage.gaussian_filter(rng.standard_normal(small), sigma / coarse, mode="wrap")
    field = ndimage.zoom(field, coarse, order=1)[: shape[0], : shape[1]]
    smooth: Field = (field - field.mean()) / (field.std() + 1e-9)
    return smooth


def _blob(rng: np.random.Generator, shape: tuple[int, ...], radius: float) -> Field:
    """One irregular spot (H, W) of 0 and 1, stretched in one direction, about `radius` (share of the short side)."""
    centre = _place(rng, shape)
    rows, columns = np.mgrid[: shape[0], : shape[1]].astype(np.float64) - centre[:, None, None]
    turn, stretch = rng.uniform(0, np.pi), _log_uniform(rng, 1.0, 3.0)
    along = (np.cos(turn) * columns + np.sin(turn) * rows) / np.sqrt(stretch)
    across = (np.cos(turn) * rows - np.sin(turn) * columns) * np.sqrt(stretch)
    angle = np.arctan2(across, along)
    rim = np.ones_like(angle)
    for order in (2, 3, 5):
        rim += rng.uniform(0, 0.5 / order) * np.cos(order * angle + rng.uniform(0, 2 * np.pi))
    return (np.hypot(along, across) < max(radius * min(shape), RADIUS) * rim).astype(np.float64)


def _centre(support: Field) -> NDArray[np.float64]:
    return np.argwhere(support > 0).mean(0) if support.any() else np.array(support.shape) / 2


def _stroke(shape: tuple[int, ...], path: NDArray[np.float64], width: NDArray[np.float64]) -> Field:
    """A line (H, W) in [0, 1] along path (n, 2), `width` (n,) pixels wide, its edges antialiased."""
    inside = ((path >= 0) & (path <= np.array(shape[:2]) - 1)).all(1)
    support = np.ones(shape[:2], bool)
    wide = np.zeros(shape[:2])
    cells = np.rint(path[inside]).astype(int)
    support[tuple(cells.T)] = False
    wide[tuple(cells.T)] = width[inside]
    if support.all():
        return np.zeros(shape[:2])
    distance, nearest = ndimage.distance_transform_edt(support, return_indices=True)
    line: Field = np.clip(wide[tuple(nearest)] / 2 + 0.5 - distance, 0, 1)
    return line


def _sample(image: Image, turn: NDArray[np.float64], offset: NDArray[np.float64]) -> Image:
    """image at turn @ position + offset, mirrored beyond its edges."""
    channels = [ndimage.affine_transform(image[..., c], turn, offset, order=1, mode="mirror") for c in range(3)]
    return np.stack(channels, -1)
