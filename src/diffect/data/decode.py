"""From an image file to pixels: reading, checking, measuring."""

import os
import struct
import sys
import warnings
import zlib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

# No EPS or PDF: Pillow would start another program to read them.
FORMATS = ("PNG", "JPEG", "BMP", "DIB", "TIFF", "GIF", "WEBP", "PPM")
SENSOR_BITS = (8, 10, 12, 14, 16)
STATISTICS = (
    "brightness",
    "contrast",
    "sharpness",
    "minimum",
    "maximum",
    "bytes_per_pixel",
    "width",
    "height",
)

_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)
# Pillow warns of images from 89 megapixels on, and refuses those from 179 on, which is our limit too.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Pillow gives 16-bit colour as its upper bytes. Read with the bytes of each number exchanged, it gives the lower ones.
_EXCHANGED = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}
_DEEP_COLOUR = tuple(f"{mode};16{order}" for mode in ("RGB", "RGBA", "RGBX") for order in _EXCHANGED)


@dataclass(frozen=True)
class Depth:
    """Which values of an image with more than 8 bits are black and white; one for all images of a category.

    Args:
        bits: of the sensor behind 16-bit images: 0 is black, 2^bits - 1 is white.
        value_range: black and white of images of floating-point numbers or 32-bit integers; None refuses them.
    """

    bits: int = 16
    value_range: tuple[float, float] | None = None


def read_image(path: Path, depth: Depth = Depth()) -> NDArray[np.uint8]:
    """Pixels (H, W, 3), RGB, turned as EXIF says.

    Grey is repeated over the channels, alpha is dropped, palettes are looked up. More than 8 bits are scaled by one
    factor for a whole category, so that brightness stays comparable between images.
    """
    picture, deep = _load(path)
    if deep and not picture.mode.startswith("I"):
        return scaled(_deep_colour(path), 0, 2**depth.bits - 1)
    return to_pixels(picture, depth, path)


def to_pixels(picture: Image.Image, depth: Depth, name: Path | str) -> NDArray[np.uint8]:
    """Pixels (H, W, 3) of a picture in memory, as `read_image` gives them.

    Args:
        picture: turned already.
        depth: for more than 8 bits.
        name: of the picture, for errors.
    """
    mode = picture.mode
    if not mode.startswith(("I", "F")):
        try:
            return np.asarray(picture.convert("RGB"))
        except _UNREADABLE as error:
            raise ValueError(_problem(name, error)) from error
    values = np.asarray(picture)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} has pixels that are NaN or infinite; replace them by numbers")
    low, high = depth.value_range or (0, 2**depth.bits - 1)
    if mode in ("I", "F") and depth.value_range is None and (mode == "F" or values.min() < 0 or values.max() > 65535):
        what = "floating-point pixels" if mode == "F" else f"values {values.min()} to {values.max()}"
        raise ValueError(
            f"{name} holds {what}; save it with 8 or 16 bits, or train with data.source.value_range=[BLACK,WHITE], the "
            "values of black and white"
        )
    if mode.startswith("I;16"):
        low, high = 0, 2**depth.bits - 1
    return np.repeat(scaled(values, low, high)[..., None], 3, axis=2)


def scaled(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """Values with `low` as 0 and `high` as 255; what lies beyond is cut off."""
    inside = np.clip(values.astype(np.float64), low, high) - low
    return np.rint(inside * (255.0 / (high - low))).astype(np.uint8)


def mode_of(path: Path) -> str:
    """The colour mode of an image file in Pillow's names, from its header alone; RGB;16 for 16-bit colour."""
    with Image.open(path, formats=FORMATS) as picture:
        return f"{picture.mode};16" if _is_deep(picture) and not picture.mode.startswith("I") else picture.mode


def size_of(path: Path) -> tuple[int, int]:
    """Height and width that `read_image` will give, from the file's header alone."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            # PNG's own `getexif` would decode all pixels, to look for tags behind them; TIFF's size is turned already.
            orientation = Image.Image.getexif(picture).get(ExifTags.Base.Orientation)
            turned = orientation in (5, 6, 7, 8) and picture.format != "TIFF"
    except _UNREADABLE as error:
        raise ValueError(_problem(path, error)) from error
    return (width, height) if turned else (height, width)


def sensor_bits(paths: Iterable[Path]) -> int:
    """The sensor's depth behind 16-bit files: the least of 8, 10, 12, 14, 16 bits that holds their maximum.

    A 12-bit camera that writes 16-bit files would otherwise give nearly black images. 16 where no image (of the
    training normals) is a 16-bit one.
    """
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        highest = max(pool.map(_highest, paths), default=-1)
    return next(bits for bits in SENSOR_BITS if highest < 2**bits) if highest >= 0 else 16


def read_mask(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """A mask (H, W) of 0 and 1, from a file that holds 0 and at most one other value.

    Args:
        path: of the mask.
        width: of its image, in pixels.
        height: of its image.

    Raises:
        ValueError: the file cannot be read, has another size or more than two values.
    """
    picture, _ = _load(path)
    if picture.size != (width, height):
        raise ValueError(
            f"mask {path} is {picture.width} x {picture.height} pixels, its image {width} x {height}; "
            f"they must be of one size"
        )
    if picture.mode.startswith(("I", "F")):
        values: NDArray[np.generic] = np.asarray(picture)
    else:
        # The brightest channel, so that a mask drawn in any single colour stays two-valued.
        values = np.asarray(picture.convert("RGB")).max(axis=2)
    levels = np.unique(values)
    if np.count_nonzero(levels) > 1:
        shown = ", ".join(str(level) for level in levels[:6]) + (", ..." if len(levels) > 6 else "")
        raise ValueError(
            f"mask {path} is not binary: it holds {len(levels)} values ({shown}); allowed are 0 and one "
            f"other, so threshold it and save it without loss (PNG)"
        )
    mask: NDArray[np.uint8] = (values != 0).astype(np.uint8)
    return mask


def is_transparent(image: Path | Image.Image) -> bool:
    """Whether some pixels of a readable file or of a picture in memory are transparent."""
    if isinstance(image, Path):
        with Image.open(image, formats=FORMATS) as picture:
            return is_transparent(picture)
    return image.has_transparency_data and image.convert("RGBA").getchannel("A").getextrema()[0] != 255


def is_grey(path: Path) -> bool:
    """Whether a readable file has a single channel, transparency aside."""
    with Image.open(path, formats=FORMATS) as picture:
        return picture.mode.startswith(("1", "L", "I", "F"))


def hides_in_alpha(path: Path) -> bool:
    """Whether a mask file is of one colour while its transparency varies: the mask may be in the alpha channel."""
    picture, _ = _load(path)
    if "A" not in picture.getbands():
        return False
    values = np.asarray(picture)
    return bool(np.ptp(values[..., :-1]) == 0 and np.ptp(values[..., -1]) > 0)


def statistics(pixels: NDArray[np.uint8], file_bytes: int) -> tuple[float, ...]:
    """The trivial statistics of one image file, in the order of `STATISTICS`.

    Over the luma Y in [0, 255]: mean, standard deviation, variance of the 4-neighbour Laplacian, minimum,
    maximum; then bytes of the file per pixel, width and height.
    """
    grey = pixels @ np.array([0.299, 0.587, 0.114], np.float32)  # (H, W)
    sharpness = 0.0
    if min(grey.shape) > 2:
        centre = grey[1:-1, 1:-1]
        laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * centre
        sharpness = float(laplacian.var())
    height, width = grey.shape
    return (
        float(grey.mean(dtype=np.float64)),
        float(grey.std(dtype=np.float64)),
        sharpness,
        float(grey.min()),
        float(grey.max()),
        file_bytes / grey.size,
        float(width),
        float(height),
    )


def _load(path: Path) -> tuple[Image.Image, bool]:
    """The picture, turned as EXIF says, and whether its file has more than 8 bits for each number."""
    frames = 1
    try:
        if path.stat().st_size == 0:
            raise ValueError("the file is empty")
        with Image.open(path, formats=FORMATS) as picture:
            # A phone's MPO is a photograph with a preview behind it, every other sequence is a film.
            frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
            if frames == 1:
                deep = _is_deep(picture)
                picture.load()
                return ImageOps.exif_transpose(picture), deep
    except _UNREADABLE as error:
        raise ValueError(_problem(path, error)) from error
    raise ValueError(f"{path} is animated or has several pages ({frames} frames); save one of them as an image")


def _is_deep(picture: ImageFile.ImageFile) -> bool:
    """Whether a picture that was opened but not loaded is grey or colour of more than 8 bits for each number."""
    if picture.mode == "F":
        return False
    bits = max(picture.tag_v2.get(BITSPERSAMPLE, (8,))) if isinstance(picture, TiffImageFile) else 8
    return picture.mode.startswith("I") or bits > 8 or any(";16" in _layout(tile) for tile in picture.tile)


def _deep_colour(path: Path) -> NDArray[np.uint16]:
    """Numbers (H, W, 3) of a 16-bit colour file."""
    halves = []
    for exchanged in (False, True):
        with Image.open(path, formats=FORMATS) as picture:
            if not {_layout(tile) for tile in picture.tile} <= set(_DEEP_COLOUR):
                raise ValueError(
                    f"{path} has 16 bits in a layout that is not read (grey with alpha, or colours in planes); save it "
                    "as plain RGB"
                )
            if exchanged:
                picture.tile = [tile._replace(args=_exchange(tile.args)) for tile in picture.tile]
            picture.load()
            halves.append(np.asarray(ImageOps.exif_transpose(picture), np.uint16)[..., :3])
    return halves[0] * 256 + halves[1]


def _layout(tile: Any) -> str:
    """How the bytes of a tile are laid out, in Pillow's names, such as RGB;16B."""
    return tile.args if isinstance(tile.args, str) else str((tile.args or ("",))[0])


def _exchange(args: Any) -> Any:
    """The decoder's arguments for the other order of the bytes of each number."""
    if isinstance(args, str):
        return args[:-1] + _EXCHANGED[args[-1]]
    return (_exchange(args[0]), *args[1:])


def _highest(path: Path) -> int:
    """The largest number of a 16-bit file; -1 for all others, and for what cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            if not _is_deep(picture):
                return -1
            return int((np.asarray(picture) if picture.mode.startswith("I") else _deep_colour(path)).max())
    except _UNREADABLE:
        return -1


def _problem(name: Path | str, error: Exception) -> str:
    """Why a file cannot be read as an image, and what to do."""
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, Image.DecompressionBombError | MemoryError):
        return f"{name} is too large to be read as one image ({reason}): scale it down, or cut it into several"
    if isinstance(error, UnidentifiedImageError):
        reason = "no known image format, or a variant that is not read, such as TIFF with colours in floating point"
    return f"{name} cannot be read as an image ({reason}): replace or remove it"
