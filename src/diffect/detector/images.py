"""What a user gives as images: files, folders, PIL images and arrays, read and fitted into the canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image, ImageOps

from diffect.data import decode
from diffect.data.canvas import box_slices
from diffect.data.sample import Kind
from diffect.data.sources.folders import EXTENSIONS, Listing, scan

Box = tuple[float, float, float, float]  # left, top, width, height
MAX_ENLARGED = 4  # times that an image is enlarged on the canvas; more leaves no details to score
MIN_SHARE = 1 / 3  # of the canvas that an image fills; below, its shape is another than that of the training images


@dataclass(frozen=True)
class Fitting:
    """How a photograph (height, width) lies in the canvas: the box (top, left, height, width) that it fills there."""

    inner: tuple[int, int, int, int]
    height: int
    width: int

    @classmethod
    def of(cls, box: Sequence[int], size: Sequence[int]) -> Fitting:
        """From the box and the photograph's height and width."""
        top, left, height, width = box
        return cls((top, left, height, width), size[0], size[1])

    @property
    def valid(self) -> tuple[slice, ...]:
        """The photograph's rows and columns of the canvas."""
        return box_slices(self.inner)

    @property
    def steps(self) -> tuple[float, float]:
        """Pixels of the photograph, down and across, for each pixel of the canvas."""
        return self.height / self.inner[2], self.width / self.inner[3]

    def out(self, top: float, left: float, bottom: float, right: float) -> Box:
        """Edges on the canvas as a box in the photograph; what lies on the padding is cut off."""
        down, across = self.steps
        rows = [min(max((edge - self.inner[0]) * down, 0.0), float(self.height)) for edge in (top, bottom)]
        columns = [min(max((edge - self.inner[1]) * across, 0.0), float(self.width)) for edge in (left, right)]
        return columns[0], rows[0], columns[1] - columns[0], rows[1] - rows[0]


def at_own_size(values: NDArray[np.float32], box: Sequence[int], size: Sequence[int]) -> NDArray[np.float32]:
    """A map (*canvas) without its padding, cut to `box_slices(box)` and interpolated linearly to the image's size."""
    cut = values[box_slices(box)]
    mode = ("linear", "bilinear", "trilinear")[values.ndim - 1]
    wide = F.interpolate(torch.from_numpy(np.array(cut))[None, None], size=tuple(size), mode=mode, align_corners=False)
    return np.asarray(wide[0, 0].numpy(), dtype=np.float32)


def named_images(images: Any) -> tuple[list[tuple[str, Any]], bool]:
    """(name, image) of each image that is given, and whether it is a single one.

    A folder stands for all image files in it; files are named by their path in the folder, other images by their
    position. ValueError where there is none.
    """
    if isinstance(images, str | Path):
        return list_images(images).named, Path(images).expanduser().is_file()
    if isinstance(images, Image.Image | np.ndarray):
        return [("0", images)], True
    if not isinstance(images, list | tuple) or not images:
        raise ValueError(f"images is {_kind(images)}; give a file, a folder, a PIL image, an array, or a list of these")
    named: list[tuple[str, Any]] = []
    for position, image in enumerate(images):
        named += list_images(image).named if isinstance(image, str | Path) else [(str(position), image)]
    return named, False


def read_pixels(image: Any, depth: decode.Depth) -> NDArray[np.uint8]:
    """Pixels (H, W, 3), RGB, of a file, a PIL image, or an array (H, W) or (H, W, 3).

    Arrays hold uint8, uint16 of a sensor of so many bits, or floating-point numbers in the depth's range, by default
    [0, 1].
    """
    if isinstance(image, Path):
        return decode.read_image(image, depth)
    if isinstance(image, Image.Image):
        return decode.to_pixels(ImageOps.exif_transpose(image), depth, "the image")
    if not isinstance(image, np.ndarray):
        raise ValueError(f"an image is {_kind(image)}; it must be a file, a PIL image or an array")
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3) or 0 in image.shape:
        raise ValueError(f"an array has shape {image.shape}; it must be (H, W) or (H, W, 3)")
    if image.dtype == np.uint16:
        pixels = decode.scaled(image, 0, 2**depth.bits - 1)
    elif np.issubdtype(image.dtype, np.floating):
        low, high = depth.value_range or (0, 1)
        if not np.isfinite(image).all():
            raise ValueError("an array has pixels that are NaN or infinite; replace them by numbers")
        if image.min() < low or image.max() > high:
            raise ValueError(
                f"an array holds {image.dtype} from {image.min():g} to {image.max():g}; floating-point pixels must lie "
                f"in [{low:g}, {high:g}]"
            )
        pixels = decode.scaled(image, low, high)
    elif image.dtype == np.uint8:
        pixels = image
    else:
        raise ValueError(f"an array holds {image.dtype}; it must hold uint8, uint16 or floating-point numbers")
    return np.repeat(pixels[..., None], 3, axis=2) if pixels.ndim == 2 else pixels


def notes_on(image: Any, size: Sequence[int], box: Sequence[int], canvas: Sequence[int]) -> list[str]:
    """What makes the score of a picture doubtful, though it can be read.

    Args:
        image: as it was given.
        size: its height and width.
        box: that it fills on the canvas.
        canvas: height and width.
    """
    notes, enlarged, share = [], box[2] / size[0], box[2] * box[3] / math.prod(canvas)
    if enlarged > MAX_ENLARGED:
        notes.append(f"it has {size[1]} x {size[0]} pixels only, enlarged {enlarged:.0f} times")
    if share < MIN_SHARE:
        notes.append(f"its shape is unlike that of the training images: it fills {share:.0%} of the canvas")
    if isinstance(image, Path | Image.Image) and decode.is_transparent(image):
        notes.append("its transparency is ignored")
    return notes


def read_sample(sample: Any, kind: Kind, size: Sequence[int]) -> NDArray[Any]:
    """An array (*size, C) of a series or volume, as the source of the training samples gives them."""
    expected = (*size, kind.channels)
    if not isinstance(sample, np.ndarray) or sample.shape != expected or sample.dtype != np.dtype(kind.dtype):
        found = f"{sample.dtype} {sample.shape}" if isinstance(sample, np.ndarray) else _kind(sample)
        raise ValueError(f"a sample is {found}; this detector takes arrays of a {kind.name}: {kind.dtype} {expected}")
    return sample


def list_images(place: str | Path) -> Listing:
    """The images in a folder, or the file alone; ValueError where there is none."""
    try:
        listing = scan(place)
    except ValueError as error:
        raise ValueError(f"images is {place}: {error}") from error
    if not listing.images:
        raise ValueError(f"images is {place}: it holds no image ({', '.join(EXTENSIONS)})")
    return listing


def _kind(value: Any) -> str:
    if isinstance(value, str | Path):
        return f"the file {value}"
    return f"an empty {type(value).__name__}" if value in ([], ()) else f"of type {type(value).__name__}"
