"""Samples of one size, decoded once and kept on disk in plain .npy files that are mapped."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from diffect.data import decode
from diffect.data.canvas import MisfitError, box_slices, fit_to_canvas
from diffect.data.sample import Kind, Sample
from diffect.storage.arrays import cached, npy_writer, open_npy

FORMAT = 3  # of the store; raise it when decoding or resizing changes

T = TypeVar("T")


class Entry(NamedTuple):
    """One row of a store."""

    array: NDArray[Any]  # (*size, C)
    mask: NDArray[Any]  # (*size)
    box: tuple[int, ...]  # of the true content: where it starts on each axis, then its size on each
    has_mask: bool  # whether the mask is known: of normal samples (all 0), and of defective ones with a mask
    stats: Sequence[float] = (np.nan,) * len(decode.STATISTICS)
    defect: str = ""  # the kind of a synthetic one, at most 16 letters


@dataclass(frozen=True)
class Store:
    """Samples of one category and one size, one row each, in the samples' order.

    arrays (N, *size, C) of the source's dtype; masks (N, *size) uint8, 0, 1 or `IGNORED`; rows: a structured array
    (N,), see `row_dtype`. `key` names the content: it changes with any sample's version and with the way they are
    resized.
    """

    key: str
    arrays: NDArray[Any]
    masks: NDArray[np.uint8]
    rows: NDArray[np.void]

    @property
    def size(self) -> tuple[int, ...]:
        """The spatial size of all rows."""
        return self.arrays.shape[1:-1]

    @property
    def keys(self) -> NDArray[np.int64]:
        """Content keys (N,); see `content_key`."""
        return self.rows["key"]

    @property
    def has_mask(self) -> NDArray[np.bool_]:
        """Where the mask is known (N,): normal samples (all 0), and defective ones with a mask."""
        return self.rows["has_mask"]

    @property
    def boxes(self) -> NDArray[np.int32]:
        """(N, 2 * rank): where the true content starts on each axis, then its size on each."""
        return self.rows["box"]

    @property
    def stats(self) -> dict[str, NDArray[np.float64]]:
        """Simple statistics of the original images, name: (N,), NaN where there are none; see `decode.statistics`."""
        return {name: self.rows["stats"][:, i] for i, name in enumerate(decode.STATISTICS)}

    def content(self, row: int) -> tuple[NDArray[Any], NDArray[np.uint8]]:
        """The row's array and mask without padding."""
        inner = box_slices(self.boxes[row].tolist())
        return self.arrays[row][inner], self.masks[row][inner]


def row_dtype(rank: int) -> np.dtype[np.void]:
    """The dtype of a store's rows, for samples of this many spatial axes."""
    return np.dtype(
        [
            ("key", "<i8"),
            ("has_mask", "?"),
            ("box", "<i4", (2 * rank,)),
            ("stats", "<f8", (len(decode.STATISTICS),)),
            ("defect", "<U16"),
        ]
    )


def open_samples(samples: Sequence[Sample], kind: Kind, size: tuple[int, ...], aspect: str, cache: Path) -> Store:
    """The store of these samples of one category, built under `cache` when it is missing or broken.

    Pictures are fitted to the canvas `size`, see `canvas.fit_to_canvas`; all other kinds must have that size.
    """
    versions = [[sample.version(), sample.anomalous] for sample in samples]
    key = name_of([FORMAT, kind.name, size, aspect, versions])
    category = samples[0].category
    folder = cache / "samples" / f"{category}-{key}"
    shape = (len(samples), *size, kind.channels)
    return open_store(
        folder, key, shape, kind.dtype, samples, lambda one: _entry(one, kind, size, aspect), f"samples of {category}"
    )


def open_store(
    folder: Path,
    key: str,
    shape: tuple[int, ...],
    dtype: Any,
    items: Sequence[T],
    make: Callable[[T], Entry],
    title: str,
) -> Store:
    """The store in `folder`, of the entry that `make` gives of each item; built when it is missing or broken.

    Items are made in threads. A failed build leaves nothing that counts as complete; its ValueError names all items
    that `make` refused.
    """
    rows = np.zeros(len(items), row_dtype(len(shape) - 2))

    def load() -> Store:
        return Store(
            key,
            open_npy(folder / "arrays.npy", dtype, shape),
            open_npy(folder / "masks.npy", np.uint8, shape[:-1]),
            np.array(open_npy(folder / "rows.npy", rows.dtype, rows.shape)),
        )

    def attempt(item: T) -> Entry | ValueError:
        try:
            return make(item)
        except MisfitError:
            raise  # the same would be said of every item
        except ValueError as error:
            return error

    def build() -> None:
        refused: list[str] = []
        with ExitStack() as stack:
            pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
            stack.callback(pool.shutdown, cancel_futures=True)
            write_array = stack.enter_context(npy_writer(folder / "arrays.npy", dtype, shape))
            write_mask = stack.enter_context(npy_writer(folder / "masks.npy", np.uint8, shape[:-1]))
            for row, entry in enumerate(progress(pool.map(attempt, items), title, len(items))):
                if isinstance(entry, ValueError):
                    refused.append(str(entry))
                    continue
                write_array(entry.array)
                write_mask(entry.mask)
                rows[row] = (content_key(entry.array), entry.has_mask, entry.box, tuple(entry.stats), entry.defect)
            if refused:
                some = f"{len(refused)} of {len(items)} {title} cannot be read: " if len(refused) > 1 else ""
                raise ValueError(some + "; ".join(refused))
        # Last, because a store counts as complete when all three files are there.
        with npy_writer(folder / "rows.npy", rows.dtype, rows.shape) as write:
            write(rows)

    return cached(folder, title, load, build)


def _entry(sample: Sample, kind: Kind, size: tuple[int, ...], aspect: str) -> Entry:
    array = sample.load()
    mask = None if sample.load_mask is None else sample.load_mask()
    named = f"sample {sample.name} of category {sample.category}"
    expected = (kind.rank + 1, kind.channels, np.dtype(kind.dtype))
    if (array.ndim, array.shape[-1], array.dtype) != expected:
        raise ValueError(
            f"{named} loads as {array.dtype} {array.shape}; its source says {kind.dtype}, {kind.rank} spatial axes "
            f"and then {kind.channels} channels"
        )
    if mask is not None and mask.shape != array.shape[:-1]:
        raise ValueError(
            f"the mask of {named} has the size {mask.shape}; it must be that of the sample, {array.shape[:-1]}"
        )
    known = mask is not None or not sample.anomalous
    if kind.drawable:
        file_bytes = array.nbytes if sample.path is None else sample.path.stat().st_size
        region = None if sample.load_region is None else sample.load_region()
        marked = None if mask is None else mask.astype(np.uint8)
        fitted, fitted_mask, box = fit_to_canvas(array, marked, size, aspect, region)
        return Entry(fitted, fitted_mask, box, known, decode.statistics(array, file_bytes))
    if array.shape[:-1] != size:
        raise ValueError(f"{named} has the size {array.shape[:-1]}; all samples must have one size, here {size}")
    if not np.isfinite(array).all():
        raise ValueError(f"{named} holds NaN or infinite values; remove them from the data")
    return Entry(array, np.zeros(size) if mask is None else mask, (0,) * len(size) + size, known)


def name_of(content: list[Any]) -> str:
    """A short name of what is kept in a cache, changing with any of its parts."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def content_key(array: NDArray[Any]) -> int:
    """The first 8 bytes of the SHA-256 over an array (*size, C) as it is stored, as a signed number."""
    return int.from_bytes(hashlib.sha256(array.tobytes()).digest()[:8], "little", signed=True)


def progress(items: Any, title: str, count: int) -> Any:
    """A progress bar on stderr around `items` (count samples), shown for more than 200."""
    return tqdm(items, title, total=count, unit="sample", disable=True if count <= 200 else None, leave=False)
