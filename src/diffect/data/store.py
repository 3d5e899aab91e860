"""What is kept on disk between runs: decoded images of one canvas, in plain .npy files that are mapped."""

import hashlib
import json
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from diffect.data import decode
from diffect.data.canvas import fit_to_canvas
from diffect.data.sample import Sample
from diffect.storage.arrays import npy_writer, open_npy

logger = logging.getLogger(__name__)

FORMAT = 1  # of the image cache; raise it when decoding or resizing changes
ROW = np.dtype(
    [
        ("key", "<i8"),
        ("has_mask", "?"),
        ("box", "<i4", (4,)),
        ("mode", "<U8"),
        ("stats", "<f8", (len(decode.STATISTICS),)),
    ]
)


@dataclass(frozen=True)
class ImageStore:
    """Decoded images of one category, fitted into one canvas, one row per sample, in the samples' order.

    images (N, H, W, 3) uint8 RGB; masks (N, H, W) uint8, 0 or 1; rows: a structured array (N,) of dtype
    `ROW`. `key` names the content: it changes with any file's path, size or time, and with canvas and aspect.
    """

    key: str
    images: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    rows: NDArray[np.void]

    @classmethod
    def open(
        cls, samples: list[Sample], canvas: tuple[int, int], aspect: str, cache: Path, bits: int | None = None
    ) -> "ImageStore":
        """The store of these samples, built under `cache` when it is missing or broken; see `canvas.fit_to_canvas`.

        bits: the sensor's depth behind 16-bit grey files, None for that of the samples' own training images.
        """
        key = _key(samples, canvas, aspect, bits)
        folder = cache / "images" / f"{samples[0].category}-{key}"
        try:
            return cls._load(key, folder, len(samples), canvas)
        except FileNotFoundError:
            pass
        except (ValueError, OSError) as error:
            logger.warning("the image cache %s is broken (%s); it is built again", folder, error)
        _build(samples, canvas, aspect, folder, bits)
        return cls._load(key, folder, len(samples), canvas)

    @classmethod
    def _load(cls, key: str, folder: Path, count: int, canvas: tuple[int, int]) -> "ImageStore":
        return cls(
            key,
            open_npy(folder / "images.npy", np.uint8, (count, *canvas, 3)),
            open_npy(folder / "masks.npy", np.uint8, (count, *canvas)),
            np.array(open_npy(folder / "rows.npy", ROW, (count,))),
        )

    @property
    def keys(self) -> NDArray[np.int64]:
        """Content keys (N,) of the fitted images; see `content_key`."""
        return self.rows["key"]

    @property
    def has_mask(self) -> NDArray[np.bool_]:
        """Where the mask is known (N,): normal images (all 0), and defect images with a mask file."""
        return self.rows["has_mask"]

    @property
    def valid_boxes(self) -> NDArray[np.int32]:
        """Top, left, height, width (N, 4) of the true image inside the canvas."""
        return self.rows["box"]

    @property
    def modes(self) -> list[str]:
        """Colour mode of each original file, in Pillow's names."""
        return [str(mode) for mode in self.rows["mode"]]

    @property
    def stats(self) -> dict[str, NDArray[np.float64]]:
        """Trivial statistics of the original files, name: (N,); see `decode.statistics`."""
        return {name: self.rows["stats"][:, i] for i, name in enumerate(decode.STATISTICS)}


def _key(samples: list[Sample], canvas: tuple[int, int], aspect: str, bits: int | None) -> str:
    entries = []
    for sample in samples:
        entry: list[object] = []
        for path in (sample.path, sample.mask):
            if path is not None:
                stat = path.stat()
                entry += [str(path.absolute()), stat.st_size, stat.st_mtime_ns]
        entries.append([*entry, sample.anomalous])
    content = json.dumps([FORMAT, canvas, aspect, entries, *([] if bits is None else [bits])])
    return hashlib.sha256(content.encode()).hexdigest()[:16]


def _build(samples: list[Sample], canvas: tuple[int, int], aspect: str, folder: Path, bits: int | None) -> None:
    """Decodes every sample once, in threads; a failed build leaves nothing behind."""
    count = len(samples)
    rows = np.zeros(count, ROW)
    depth = decode.grey_bits([sample.path for sample in samples if sample.split == "train"]) if bits is None else bits
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        with ExitStack() as stack:
            write_image = stack.enter_context(npy_writer(folder / "images.npy", np.uint8, (count, *canvas, 3)))
            write_mask = stack.enter_context(npy_writer(folder / "masks.npy", np.uint8, (count, *canvas)))
            done = pool.map(lambda sample: _decode(sample, canvas, aspect, depth), samples)
            bar = progress(done, f"decoding {samples[0].category}", count)
            for row, (image, mask, values) in enumerate(bar):
                write_image(image)
                write_mask(mask)
                rows[row] = values
    finally:
        pool.shutdown(cancel_futures=True)
    # Last, because a store counts as complete when all three are there.
    with npy_writer(folder / "rows.npy", ROW, (count,)) as write:
        write(rows)


def _decode(
    sample: Sample, canvas: tuple[int, int], aspect: str, bits: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[object, ...]]:
    pixels, mode = decode.read_image(sample.path, bits)
    height, width = pixels.shape[:2]
    mask = None if sample.mask is None else decode.read_mask(sample.mask, width, height)
    stats = decode.statistics(pixels, sample.path.stat().st_size)
    image, mask, box = fit_to_canvas(pixels, mask, canvas, aspect)
    return image, mask, (content_key(image), sample.mask is not None or not sample.anomalous, box, mode, stats)


def content_key(image: NDArray[np.uint8]) -> int:
    """The first 8 bytes of the SHA-256 over a fitted image (H, W, 3), as a signed number."""
    return int.from_bytes(hashlib.sha256(image.tobytes()).digest()[:8], "little", signed=True)


def progress(items: Any, title: str, count: int) -> Any:
    """A progress bar on stderr around `items` (count images), shown for more than 200."""
    return tqdm(items, title, total=count, unit="image", disable=True if count <= 200 else None, leave=False)
