"""The canvas: the one size that all samples of a run have; every image is fitted into it.

Long images would be a few pixels narrow in a square, so the canvas has the shape of the training images.
"""

import contextlib
import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffect.data.sample import Kind, Sample

Aspect = Literal["pad", "stretch"]
IGNORED = 2  # in the mask of an image on the canvas, beside 0, normal, and 1, defective
NEARLY_SQUARE = 1.12  # a long side of so many short sides is not worth its padding on other images
MIXED = 0.25  # share of images that lie the other way, from which the canvas is a square


class MisfitError(ValueError):
    """A region does not fit an image: the setting is wrong, and not the image."""


def common_size(
    samples: Sequence[Sample], kind: Kind, size: int, aspect: str, max_aspect: float, multiple: int
) -> tuple[int, ...]:
    """The one size of all samples of a run: pictures are resized to a canvas, all other kinds must agree already."""
    if kind.drawable:
        return choose_canvas(_sizes(samples), size, aspect, max_aspect, multiple)
    expected = samples[0].size()
    for sample in samples:
        if sample.size() != expected:
            raise ValueError(
                f"samples {samples[0].name} and {sample.name} have the sizes {expected} and {sample.size()}; all "
                f"samples of kind {kind.name} must have one size: cut or pad them in the source"
            )
    return expected


def choose_canvas(
    sizes: Iterable[tuple[int, ...]], size: int, aspect: str, max_aspect: float, multiple: int = 32
) -> tuple[int, int]:
    """Height and width of the canvas for images of these heights and widths; its short side is `size`.

    For "pad" the long side is size * exp |median log(width / height)|, rounded to a `multiple` of pixels, at most
    max_aspect * size. The canvas is a square for "stretch", where that median is within 12% of a square, and where a
    quarter of the images or more are upright among lying ones, or the other way round.
    """
    ratios = [math.log(width / height) for height, width in sizes]
    middle, edge = statistics.median(ratios or [0.0]), math.log(NEARLY_SQUARE)
    across = sum(ratio * middle < 0 and abs(ratio) > edge for ratio in ratios)
    if aspect == "stretch" or abs(middle) <= edge or across >= MIXED * len(ratios):
        return size, size
    steps = min(round(size * math.exp(abs(middle)) / multiple), int(size * max_aspect / multiple))
    long = max(size, steps * multiple)
    return (size, long) if middle > 0 else (long, size)


def fit_to_canvas(
    pixels: NDArray[np.uint8],
    mask: NDArray[np.uint8] | None,
    canvas: tuple[int, ...],
    aspect: str,
    region: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[int, int, int, int]]:
    """Image (H, W, 3), mask (H, W) and the box (top, left, height, width) that the true image fills.

    "pad" keeps the image's aspect: it becomes as large as fits, is centred, and the rest is filled with its
    mirror image, marked normal in the mask. "stretch" fills the canvas. Images are resized bicubically with
    antialiasing; masks take the nearest pixel, which neither grows nor shrinks regions.

    What lies outside the `region` (H, W) that is looked at is filled with the nearest pixels inside it before anything
    else is done, so that no result can depend on it, and is `IGNORED` in the mask. ValueError where nothing is left.
    """
    if region is not None:
        pixels = _filled(pixels, region)
        mask = np.where(region, 0 if mask is None else mask, IGNORED).astype(np.uint8)
    height, width = canvas if aspect == "stretch" else _inner(pixels.shape[0], pixels.shape[1], canvas)
    image = pixels
    if pixels.shape[:2] != (height, width):
        image = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC))
        if mask is not None:
            mask = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
    top, left = (canvas[0] - height) // 2, (canvas[1] - width) // 2
    around = ((top, canvas[0] - height - top), (left, canvas[1] - width - left))
    if (height, width) != canvas:
        image = np.pad(image, (*around, (0, 0)), mode="symmetric")
        mask = None if mask is None else np.pad(mask, around)
    if mask is None:
        mask = np.zeros(canvas, np.uint8)
    if region is not None and (mask[top : top + height, left : left + width] == IGNORED).all():
        raise MisfitError(
            f"the region that is looked at is too small: at {width} x {height} pixels nothing is left of it"
        )
    return image, mask, (top, left, height, width)


def box_slices(box: Sequence[int]) -> tuple[slice, ...]:
    """The slices of a box: where it starts on each axis, then its size on each."""
    rank = len(box) // 2
    return tuple(slice(start, start + length) for start, length in zip(box[:rank], box[rank:], strict=True))


def inside(size: tuple[int, ...], boxes: Iterable[Sequence[int]]) -> NDArray[np.bool_]:
    """(B, *size), true in the boxes of the true content; see `box_slices`."""
    boxes = list(boxes)
    valid = np.zeros((len(boxes), *size), np.bool_)
    for one, box in zip(valid, boxes, strict=True):
        one[box_slices(box)] = True
    return valid


def _sizes(samples: Sequence[Sample]) -> Iterator[tuple[int, ...]]:
    for sample in samples:
        with contextlib.suppress(ValueError):  # what cannot be read is named when all samples are decoded
            yield sample.size()


def _filled(pixels: NDArray[np.uint8], region: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """An image (H, W, 3) in which each pixel outside the region (H, W) is the nearest one inside."""
    from scipy.ndimage import distance_transform_edt

    rows, columns = distance_transform_edt(~region, return_distances=False, return_indices=True)
    return pixels[rows, columns]


def _inner(rows: int, columns: int, canvas: tuple[int, ...]) -> tuple[int, int]:
    """The largest height and width of the ratio rows : columns that the canvas holds."""
    height, width = canvas
    if rows * width >= columns * height:
        return height, max(1, round(height * columns / rows))
    return max(1, round(width * rows / columns)), width
