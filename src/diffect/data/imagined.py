"""Stores of images with synthetic defects, made from the normal images of a store and kept on disk beside it."""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from diffect.data import synthetic
from diffect.data.cache import ROW, ImageStore, content_key, logger, npy_writer, open_npy, progress
from diffect.data.mvtec import Sample


@dataclass(frozen=True)
class Recipe:
    """How many synthetic defects each image gets (one to a copy of it), of which kinds (all if none is named).

    A copy is a function of the seed, the image's pixels and the copy's number: the first copies of many are the few.
    """

    copies: int = 1
    kinds: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.copies, bool) or not isinstance(self.copies, int) or self.copies < 1:
            raise ValueError(f"copies of an image with synthetic defects is {self.copies!r}; it must be 1 or more")
        object.__setattr__(self, "kinds", tuple(synthetic.check_kinds(self.kinds)))

    def name(self) -> str:
        """What identifies the pixels it makes of given images."""
        return json.dumps([synthetic.VERSION, self.copies, self.kinds, self.seed])


def open_imagined(
    store: ImageStore, samples: Sequence[Sample], rows: Iterable[int], recipe: Recipe, cache: Path
) -> tuple[ImageStore, list[Sample]]:
    """The store of these rows' copies (row by row, copy by copy) and their samples, whose `defect` is the kind.

    Built under `cache` when it is missing or broken.
    """
    rows = list(rows)
    category = samples[0].category
    key = hashlib.sha256(json.dumps([recipe.name(), store.key, rows]).encode()).hexdigest()[:16]
    folder = cache / "imagined" / f"{category}-{key}"
    shape = (len(rows) * recipe.copies, *store.images.shape[1:])
    try:
        return _load(key, folder, shape, samples, rows)
    except FileNotFoundError:
        pass
    except (ValueError, OSError) as error:
        logger.warning("the cache of synthetic defects %s is broken (%s); it is built again", folder, error)
    _build(store, rows, recipe, folder, f"synthetic defects on {category}")
    return _load(key, folder, shape, samples, rows)


def _load(
    key: str, folder: Path, shape: tuple[int, ...], samples: Sequence[Sample], rows: list[int]
) -> tuple[ImageStore, list[Sample]]:
    store = ImageStore(
        key,
        open_npy(folder / "images.npy", np.uint8, shape),
        open_npy(folder / "masks.npy", np.uint8, shape[:3]),
        np.array(open_npy(folder / "rows.npy", ROW, shape[:1])),
    )
    kinds = open_npy(folder / "kinds.npy", "<U16", shape[:1])
    copies = shape[0] // max(len(rows), 1)
    origins = [samples[row] for row in rows for _ in range(copies)]
    return store, [replace(origin, defect=str(kind)) for origin, kind in zip(origins, kinds, strict=True)]


def _build(store: ImageStore, rows: list[int], recipe: Recipe, folder: Path, title: str) -> None:
    """Draw every copy, in threads; a failed build leaves nothing that counts as complete."""
    jobs = [(row, copy) for row in rows for copy in range(recipe.copies)]
    entries, kinds = np.zeros(len(jobs), ROW), np.zeros(len(jobs), "<U16")
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))
    try:
        with ExitStack() as stack:
            shape = (len(jobs), *store.images.shape[1:])
            write_image = stack.enter_context(npy_writer(folder / "images.npy", np.uint8, shape))
            write_mask = stack.enter_context(npy_writer(folder / "masks.npy", np.uint8, shape[:3]))
            done = pool.map(lambda job: _draw(store, job[0], job[1], recipe), jobs)
            for place, (image, mask, kind) in enumerate(progress(done, title, len(jobs))):
                write_image(image)
                write_mask(mask)
                entries[place], kinds[place] = store.rows[jobs[place][0]], kind
                entries[place]["key"], entries[place]["has_mask"] = content_key(image), True
    finally:
        pool.shutdown(cancel_futures=True)
    for name, array in (("rows.npy", entries), ("kinds.npy", kinds)):
        with npy_writer(folder / name, array.dtype, array.shape) as write:
            write(array)


def _draw(store: ImageStore, row: int, copy: int, recipe: Recipe) -> tuple[NDArray[np.uint8], NDArray[np.bool_], str]:
    """One copy on the canvas, its mask and its kind."""
    key = int(store.keys[row]) % 2**64  # seeds are not negative
    rng = np.random.Generator(np.random.PCG64([recipe.seed, key, copy]))
    top, left, height, width = store.valid_boxes[row].tolist()
    whole = store.images[row]
    inner, mask, kind = synthetic.apply(whole[top : top + height, left : left + width], rng, recipe.kinds)
    # As a photograph of the defect would lie on the canvas: the padding is the mirror image of what it pads.
    around = ((top, whole.shape[0] - height - top), (left, whole.shape[1] - width - left))
    return np.pad(inner, (*around, (0, 0)), mode="symmetric"), np.pad(mask, around), kind
