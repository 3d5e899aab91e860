"""From an image file to pixels: reading, checking, measuring."""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

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
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_image(path: Path, bits: int = 16) -> NDArray[np.uint8]:
    """Pixels (H, W, 3), RGB, turned as EXIF says.

    Grey is repeated over the channels, alpha is dropped, palettes are looked up. 16-bit grey is scaled by
    255 / (2^bits - 1): one factor for a whole category, so that brightness stays comparable between images.
    """
    return to_pixels(_load(path), bits, path)


def to_pixels(picture: Image.Image, bits: int, name: Path | str) -> NDArray[np.uint8]:
    """The same of a picture in memory; `name` is what errors call it."""
    mode = picture.mode
    if mode == "F":
        raise ValueError(f"{name} holds floating-point pixels; save it with 8 or 16 bits per channel")
    if not mode.startswith("I"):
        try:
            return np.asarray(picture.convert("RGB"))
        except _UNREADABLE as error:
            raise ValueError(_corrupt(name, error)) from error
    top = 2**bits - 1
    grey = np.rint(np.minimum(_deep(picture, name), top) * (255.0 / top)).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def mode_of(path: Path) -> str:
    """The colour mode of an image file in Pillow's names, from its header alone."""
    with Image.open(path, formats=FORMATS) as picture:
        return picture.mode


def size_of(path: Path) -> tuple[int, int]:
    """Height and width that `read_image` will give, from the file's header alone."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            width, height = picture.size
            # PNG's own `getexif` would decode all pixels, to look for tags behind them; TIFF's size is turned already.
            orientation = Image.Image.getexif(picture).get(ExifTags.Base.Orientation)
            turned = orientation in (5, 6, 7, 8) and picture.format != "TIFF"
    except _UNREADABLE as error:
        raise ValueError(_corrupt(path, error)) from error
    return (width, height) if turned else (height, width)


def grey_bits(paths: list[Path]) -> int:
    """The sensor's depth behind 16-bit grey files: the least of 8, 10, 12, 14, 16 bits that holds their
    maximum.

    A 12-bit camera that writes 16-bit files would otherwise give nearly black images. It is judged on the
    images given (training normals); 16 where none of them is 16-bit.
    """
    highest = -1
    for path in paths:
        if is_deep(path):
            highest = max(highest, int(_deep(_load(path), path).max()))
    return next(bits for bits in SENSOR_BITS if highest < 2**bits) if highest >= 0 else 16


def is_deep(path: Path) -> bool:
    """True for a file of 16-bit grey, from its header alone; an unreadable file is left to `read_image`."""
    try:
        with Image.open(path, formats=FORMATS) as picture:
            return picture.mode.startswith("I")
    except _UNREADABLE:
        return False


def read_mask(path: Path, width: int, height: int) -> NDArray[np.uint8]:
    """A mask (H, W) of 0 and 1, from a file of the image's size that holds 0 and at most one other value."""
    picture = _load(path)
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


def _load(path: Path) -> Image.Image:
    frames = 1
    try:
        if path.stat().st_size == 0:
            raise ValueError("0 bytes")
        with Image.open(path, formats=FORMATS) as picture:
            # A phone's MPO is a photograph with a preview behind it, every other sequence is a film.
            frames = 1 if picture.format == "MPO" else getattr(picture, "n_frames", 1)
            if frames == 1:
                picture.load()
                return ImageOps.exif_transpose(picture)
    except _UNREADABLE as error:
        raise ValueError(_corrupt(path, error)) from error
    raise ValueError(f"{path} is animated or has several pages ({frames} frames); save the one that is meant")


def _deep(picture: Image.Image, name: Path | str) -> NDArray[np.int64]:
    values = np.asarray(picture).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"{name} holds values {values.min()} to {values.max()}; allowed are 8 or 16 bits, 0 to 65535")
    return values


def _corrupt(name: Path | str, error: Exception) -> str:
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        reason = "no known image format"
    return f"{name} cannot be read as an image ({reason}): it is truncated or corrupt; replace or remove it"
