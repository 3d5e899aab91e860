"""Augmentation: copies of normal images that are still normal, mirrored, turned, shifted or rescaled a little.

Which of these keep an image normal depends on the part: a turned screw is a screw, a turned cable is a defect.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffect.config.description import counted, enumerated
from diffect.data.batches import Part, Row
from diffect.data.copies import derive, open_copies, padded
from diffect.data.store import Entry, Store

VERSION = 2  # of the recipe; raise it when a pixel changes
KINDS = ("mirror", "flip", "quarter", "turn", "shift", "zoom")
EXACT = KINDS[:3]  # these only exchange pixels, in few ways
DEGREES = 15.0  # the largest turn, either way
SHARE = 0.04  # the largest shift as a share of the side, either way; at least a pixel
ZOOM = 1.1  # the largest factor by which an image grows or shrinks
QUARTER = np.array([[0.0, -1.0], [1.0, 0.0]])
TRIES = 8


@dataclass(frozen=True)
class Augmentation:
    """`copies` of an image, each a random composition of `kinds`.

    mirror: left and right exchanged. flip: up and down exchanged. quarter: turned by a multiple of 90 degrees. turn:
    by up to 15 degrees either way. shift: by up to 4% of height and of width, in whole pixels. zoom: by 1 / 1.1 to 1.1.
    Beyond its border the image is mirrored. A copy is a function of the seed, the image's pixels and the copy's number;
    `fresh` copies are other draws than those of the same seed that are not fresh. Mirror, flip and quarter alone have
    few compositions: the copies of an image are then all different ones, in random order.
    """

    kinds: Sequence[str]
    copies: int
    seed: int
    fresh: bool = False

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in KINDS]
        if unknown:
            raise ValueError(f"data.augment names {unknown[0]}, which is not known; allowed: {', '.join(KINDS)}")
        if self.copies and not self.kinds:
            raise ValueError(
                f"data.augment_copies={self.copies} asks for copies, but data.augment names nothing that makes "
                f"them; allowed: some of {', '.join(KINDS)}"
            )
        object.__setattr__(self, "kinds", tuple(kind for kind in KINDS if kind in self.kinds))
        exact = _exact_moves(self.kinds)
        if exact and self.copies > len(exact):
            raise ValueError(
                f"data.augment_copies={self.copies} is not allowed: {' and '.join(self.kinds)} "
                f"{'make' if len(self.kinds) > 1 else 'makes'} {len(exact)} "
                f"different {'copies' if len(exact) > 1 else 'copy'} of an image; set at most {len(exact)}, or add "
                "turn, shift or zoom to data.augment"
            )

    def check(self, canvas: tuple[int, ...]) -> None:
        """ValueError where images of this height and width cannot be augmented so."""
        if self.copies and "quarter" in self.kinds and canvas[0] != canvas[1]:
            raise ValueError(
                f"data.augment names quarter, which needs a square canvas, and it is {canvas[0]} x {canvas[1]}: leave "
                f"quarter out, or set data.max_aspect=1"
            )

    def describe(self) -> str:
        """The number of copies and what changes them; empty where there are none."""
        copies = counted(self.copies, "copy", "copies")
        return f"{copies} of each, at random composed of {enumerated(self.kinds)}" if self.copies else ""

    def apply(
        self, rows: Sequence[Row], parts: Sequence[Part], first: int, cache: Path
    ) -> tuple[list[Part], list[Row]]:
        """Parts of the copies of these rows, numbered from `first`, and the rows of all copies in order.

        Built under `cache` when they are missing or broken.
        """
        return derive(rows, parts, self.copies, first, lambda part, chosen: self._part(part, chosen, cache))

    def _part(self, part: Part, rows: list[int], cache: Path) -> Part:
        recipe = json.dumps(["augmented", VERSION, self.kinds, self.copies, self.seed, self.fresh])
        store = open_copies(part, rows, self.copies, self._draw, recipe, cache / "augmented", "augmented copies")
        originals = [part.samples[row] for row in rows]
        samples = [replace(one, name=f"{one.name}#{copy + 1}") for one in originals for copy in range(self.copies)]
        return Part(part.label, store, samples, mislabelled=part.mislabelled)

    def _draw(self, store: Store, row: int, copy: int) -> Entry:
        """One copy in the middle of the canvas."""
        key = int(store.keys[row]) % 2**64  # seeds are not negative
        image, mask = store.content(row)
        exact = _exact_moves(self.kinds)
        if exact:
            order = np.random.Generator(np.random.PCG64([self.seed, key, self.fresh])).permutation(len(exact))
            image, mask = _applied(image, mask, exact[order[copy]])
        else:
            rng = np.random.Generator(np.random.PCG64([self.seed, key, copy, self.fresh]))
            image, mask = _moved(image, mask, self.kinds, rng)
        starts = [(side - length) // 2 for side, length in zip(store.size, mask.shape, strict=True)]
        return padded(image, mask, [*starts, *mask.shape], store.size, bool(store.has_mask[row]))


class _Move(NamedTuple):
    """Matrix (2, 2) and shift (2,) from output to input positions, and whether height and width swap."""

    matrix: NDArray[np.float64]
    shift: NDArray[np.float64]
    swapped: bool


def _moved(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], kinds: Sequence[str], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image (H, W, 3) and its mask (H, W) moved alike at random; drawn again where the move changes nothing."""
    for _ in range(TRIES):
        moved = _applied(image, mask, _draw_move(image.shape[:2], kinds, rng))
        if not np.array_equal(moved[0], image):
            break
    return moved


def _applied(
    image: NDArray[np.uint8], mask: NDArray[np.uint8], move: _Move
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An image (H, W, 3) and its mask (H, W), both moved."""
    matrix, shift, swapped = move
    shape = image.shape[1::-1] if swapped else image.shape[:2]
    # The output pixel o is the input at M (o - middle of the output) + middle of the input + shift.
    offset = (np.array(image.shape[:2]) - 1) / 2 + shift - matrix @ ((np.array(shape) - 1) / 2)
    # Exchanged pixels are copied, all others interpolated by a cubic spline.
    order = 0 if np.array_equal(matrix, np.rint(matrix)) else 3
    channels = [_resampled(image[..., c], matrix, offset, shape, order) for c in range(3)]
    return np.stack(channels, axis=2), _resampled(mask, matrix, offset, shape, 0)


def _exact_moves(kinds: Sequence[str]) -> list[_Move]:
    """All different compositions of mirror, flip and quarter except the identity; empty where other kinds take part."""
    if not set(kinds) <= set(EXACT):
        return []
    found: dict[bytes, _Move] = {}
    ways = [range(times if kind in kinds else 1) for kind, times in zip(EXACT, (2, 2, 4), strict=True)]
    for mirror, flip, quarter in product(*ways):
        matrix = np.diag([1.0 - 2 * flip, 1.0 - 2 * mirror]) @ np.linalg.matrix_power(QUARTER, quarter) + 0.0
        found.setdefault(matrix.tobytes(), _Move(matrix, np.zeros(2), quarter % 2 == 1))
    return [move for move in found.values() if not np.array_equal(move.matrix, np.eye(2))]


def _draw_move(shape: tuple[int, ...], kinds: Sequence[str], rng: np.random.Generator) -> _Move:
    """A random move of an image of this height and width."""
    matrix, shift, quarters = np.eye(2), np.zeros(2), 0
    if "mirror" in kinds and rng.random() < 0.5:
        matrix = matrix @ np.diag([1.0, -1.0])
    if "flip" in kinds and rng.random() < 0.5:
        matrix = matrix @ np.diag([-1.0, 1.0])
    if "quarter" in kinds:
        quarters = int(rng.integers(4))
        matrix = matrix @ np.linalg.matrix_power(QUARTER, quarters)
    if "turn" in kinds:
        angle = np.radians(rng.uniform(-DEGREES, DEGREES))
        matrix = matrix @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if "zoom" in kinds:
        matrix = matrix / ZOOM ** rng.uniform(-1, 1)
    if "shift" in kinds:
        most = [max(1, round(SHARE * side)) for side in shape]
        shift = np.array([rng.integers(-reach, reach + 1) for reach in most], np.float64)
    return _Move(matrix, shift, quarters % 2 == 1)


def _resampled(
    pixels: NDArray[np.uint8],
    matrix: NDArray[np.float64],
    offset: NDArray[np.float64],
    shape: tuple[int, ...],
    order: int,
) -> NDArray[np.uint8]:
    drawn = ndimage.affine_transform(pixels.astype(np.float64), matrix, offset, shape, order=order, mode="mirror")
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8)
