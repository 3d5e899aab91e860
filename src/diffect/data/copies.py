"""Copies of samples in stores of their own: several of each, altered or with synthetic defects."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffect.data import synthetic
from diffect.data.batches import Part, Row
from diffect.data.canvas import IGNORED
from diffect.data.store import Entry, Store, name_of, open_store

Draw = Callable[[Store, int, int], Entry]  # (store, row, copy): a function of the row's content and the copy's number


def derive(
    rows: Sequence[Row], parts: Sequence[Part], copies: int, first: int, make: Callable[[Part, list[int]], Part]
) -> tuple[list[Part], list[Row]]:
    """New parts, numbered from `first`, that hold `copies` of each of these rows; and the rows of all copies.

    `make(part, rows)` gives the part with the copies of these rows, row by row, copy by copy, in which order the rows
    of all copies are returned too.
    """
    by_part: dict[int, list[int]] = {}
    for index, row in rows:
        by_part.setdefault(index, []).append(row)
    made, starts = [], dict[Row, Row]()
    for number, (index, chosen) in enumerate(by_part.items(), start=first):
        origins = tuple((index, row) for row in chosen for _ in range(copies))
        made.append(replace(make(parts[index], chosen), origins=origins))
        starts |= {(index, row): (number, copies * i) for i, row in enumerate(chosen)}
    return made, [(number, start + copy) for number, start in map(starts.__getitem__, rows) for copy in range(copies)]


def open_copies(
    part: Part, rows: Sequence[int], copies: int, draw: Draw, recipe: str, folder: Path, title: str
) -> Store:
    """The store of the copies of these rows of a part, row by row, copy by copy.

    It lies under `folder` and is built when it is missing or broken. `recipe` names all settings of `draw`.
    """
    store, category = part.store, part.samples[0].category
    key = name_of([recipe, store.key, list(rows)])
    return open_store(
        folder / f"{category}-{key}",
        key,
        (len(rows) * copies, *store.arrays.shape[1:]),
        store.arrays.dtype,
        [(row, copy) for row in rows for copy in range(copies)],
        lambda job: draw(store, *job),
        f"{title} of {category}",
    )


def padded(
    content: NDArray[Any], mask: NDArray[Any], box: Sequence[int], size: Sequence[int], has_mask: bool, defect: str = ""
) -> Entry:
    """An image and its mask placed on the canvas as a photograph would be: the padding mirrors what it pads."""
    starts, lengths = box[:2], box[2:]
    around = [(start, side - start - length) for start, length, side in zip(starts, lengths, size, strict=True)]
    image = np.pad(content, (*around, (0, 0)), mode="symmetric")
    return Entry(image, np.pad(mask, around), tuple(box), has_mask, defect=defect)


@dataclass(frozen=True)
class Recipe:
    """How many synthetic defects each image gets, one on each copy of it, and of which kinds (all if none is named).

    A copy is a function of the seed, the image's pixels and the copy's number, whatever the number of copies.
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

    def apply(
        self, rows: Sequence[Row], parts: Sequence[Part], first: int, cache: Path
    ) -> tuple[list[Part], list[Row]]:
        """Parts of the copies of these rows, numbered from `first`, and the rows of all copies in order."""
        return derive(rows, parts, self.copies, first, lambda part, chosen: open_synthetic(part, chosen, self, cache))

    def draw(self, store: Store, row: int, copy: int) -> Entry:
        """One copy on the canvas."""
        key = int(store.keys[row]) % 2**64  # seeds are not negative
        rng = np.random.Generator(np.random.PCG64([self.seed, key, copy]))
        normal, marked = store.content(row)
        image, mask, kind = synthetic.apply(normal, rng, self.kinds)
        if (ignored := marked == IGNORED).any():
            image, mask = np.where(ignored[..., None], normal, image), np.where(ignored, marked, mask)
        return padded(image, mask, store.boxes[row].tolist(), store.size, True, kind)


def open_synthetic(part: Part, rows: Sequence[int], recipe: Recipe, cache: Path) -> Part:
    """The part of these rows' copies, row by row, copy by copy; the `defect` of its samples is the synthetic kind.

    Built under `cache` when it is missing or broken.
    """
    folder = cache / "synthetic"
    store = open_copies(part, rows, recipe.copies, recipe.draw, recipe.name(), folder, "synthetic defects")
    originals = [part.samples[row] for row in rows for _ in range(recipe.copies)]
    defects = store.rows["defect"]
    samples = [replace(one, defect=str(defect)) for one, defect in zip(originals, defects, strict=True)]
    return Part(part.label, store, samples)
