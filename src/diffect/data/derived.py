"""Stores of images made from those of another store, copy by copy, kept on disk beside it."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffect.data.batches import Part, Row
from diffect.data.store import ROW, ImageStore, content_key, logger, progress
from diffect.storage.arrays import npy_writer, open_npy


class Copy(NamedTuple):
    """One image made of another: on the canvas, image (H, W, 3), mask (H, W), the box that the true image fills."""

    image: NDArray[np.uint8]
    mask: NDArray[np.bool_]
    box: tuple[int, int, int, int]
    has_mask: bool
    kind: str  # 16 letters at most


Draw = Callable[
    [ImageStore, int, int], Copy
]  # (store, row, copy), a function of the row's pixels and the copy's number


def derive(
    rows: Sequence[Row], parts: Sequence[Part], copies: int, first: int, make: Callable[[Part, list[int]], Part]
) -> tuple[list[Part], list[Row]]:
    """Parts that `make` gives of the parts that rows point into, numbered from `first`, and the rows of all copies.

    `make(part, rows)` holds the copies of these rows of it, row by row, copy by copy; so are the rows of all ordered.
    """
    held: dict[int, list[int]] = {}
    for place, row in rows:
        held.setdefault(place, []).append(row)
    made, starts = [], dict[Row, Row]()
    for number, (place, own) in enumerate(held.items(), start=first):
        origins = tuple((place, row) for row in own for _ in range(copies))
        made.append(replace(make(parts[place], own), origins=origins))
        starts |= {(place, row): (number, copies * i) for i, row in enumerate(own)}
    return made, [(number, start + copy) for number, start in map(starts.__getitem__, rows) for copy in range(copies)]


def open_copies(
    store: ImageStore, rows: Sequence[int], copies: int, draw: Draw, recipe: str, folder: Path, title: str
) -> tuple[ImageStore, list[str]]:
    """The store of these rows' copies, row by row, copy by copy, and their kinds.

    Found in `folder` (whose name is made complete by a hash of the store, rows and recipe), built there when it is
    missing or broken. `title` is what its progress is called.
    """
    key = hashlib.sha256(json.dumps([recipe, store.key, list(rows)]).encode()).hexdigest()[:16]
    folder = folder.with_name(f"{folder.name}-{key}")
    shape = (len(rows) * copies, *store.images.shape[1:])
    try:
        return _load(key, folder, shape)
    except FileNotFoundError:
        pass
    except (ValueError, OSError) as error:
        logger.warning("the cache of %s %s is broken (%s); it is built again", title, folder, error)
    _build(store, [(row, copy) for row in rows for copy in range(copies)], draw, folder, title)
    return _load(key, folder, shape)


def _load(key: str, folder: Path, shape: tuple[int, ...]) -> tuple[ImageStore, list[str]]:
    images = open_npy(folder / "images.npy", np.uint8, shape)
    masks = open_npy(folder / "masks.npy", np.uint8, shape[:3])
    rows = np.array(open_npy(folder / "rows.npy", ROW, shape[:1]))
    kinds = open_npy(folder / "kinds.npy", "<U16", shape[:1])
    return ImageStore(key, images, masks, rows), [str(kind) for kind in kinds]


def _build(store: ImageStore, jobs: list[tuple[int, int]], draw: Draw, folder: Path, title: str) -> None:
    """Draw every copy, in threads; a failed build leaves nothing that counts as complete."""
    entries, kinds = np.zeros(len(jobs), ROW), np.zeros(len(jobs), "<U16")
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        with ExitStack() as stack:
            shape = (len(jobs), *store.images.shape[1:])
            write_image = stack.enter_context(npy_writer(folder / "images.npy", np.uint8, shape))
            write_mask = stack.enter_context(npy_writer(folder / "masks.npy", np.uint8, shape[:3]))
            done = pool.map(lambda job: draw(store, *job), jobs)
            for place, copy in enumerate(progress(done, title, len(jobs))):
                write_image(copy.image)
                write_mask(copy.mask)
                entries[place], kinds[place] = store.rows[jobs[place][0]], copy.kind
                entries[place]["key"], entries[place]["has_mask"] = content_key(copy.image), copy.has_mask
                entries[place]["box"] = copy.box
    finally:
        pool.shutdown(cancel_futures=True)
    for name, array in (("rows.npy", entries), ("kinds.npy", kinds)):
        with npy_writer(folder / name, array.dtype, array.shape) as write:
            write(array)
