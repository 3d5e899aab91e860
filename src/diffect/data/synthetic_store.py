"""Stores of images with synthetic defects, made from the normal images of a store and kept on disk beside it."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from diffect.data import synthetic
from diffect.data.derived import Copy, open_copies
from diffect.data.sample import Sample
from diffect.data.store import ImageStore


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
    made, kinds = open_copies(
        store,
        rows,
        recipe.copies,
        lambda store, row, copy: _draw(store, row, copy, recipe),
        recipe.name(),
        cache / "imagined" / category,
        f"synthetic defects on {category}",
    )
    origins = [samples[row] for row in rows for _ in range(recipe.copies)]
    return made, [replace(origin, defect=kind) for origin, kind in zip(origins, kinds, strict=True)]


def _draw(store: ImageStore, row: int, copy: int, recipe: Recipe) -> Copy:
    """One copy on the canvas."""
    key = int(store.keys[row]) % 2**64  # seeds are not negative
    rng = np.random.Generator(np.random.PCG64([recipe.seed, key, copy]))
    top, left, height, width = store.valid_boxes[row].tolist()
    whole = store.images[row]
    inner, mask, kind = synthetic.apply(whole[top : top + height, left : left + width], rng, recipe.kinds)
    # As a photograph of the defect would lie on the canvas: the padding is the mirror image of what it pads.
    around = ((top, whole.shape[0] - height - top), (left, whole.shape[1] - width - left))
    image = np.pad(inner, (*around, (0, 0)), mode="symmetric")
    return Copy(image, np.pad(mask, around), (top, left, height, width), True, kind)
