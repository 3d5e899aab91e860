"""Training images that nobody has looked through: some of those that are taken for normal are defective."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from diffect.data import decode, splits
from diffect.data.batches import Part, Row
from diffect.data.fingerprint import OWN, Brought
from diffect.data.store import ImageStore
from diffect.data.synthetic_store import Recipe, open_imagined

MOST = 0.5  # of the images; beyond it the defects would be what is normal


@dataclass(frozen=True)
class Contamination:
    """Replaces round(share n) of each category's n normal training images by defective ones, wherever they were cut to.

    folder: None puts a synthetic defect on each of these very images. `test` draws from half of the test defects of
    each kind, which are held out of the test set, at every share the same ones, so that dirt and defects are of one
    kind but never one image. Else images are drawn from FOLDER/<category>, or from FOLDER where there is none. Which
    images: by (seed, category), so that those replaced at one share are replaced at every larger one, and fit,
    selection and calibration are dirty alike.
    """

    share: float
    folder: str | None
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.share, bool) or not 0 <= self.share <= MOST:
            raise ValueError(
                f"data.contamination={self.share} is not allowed; it is the share of the normal training images that "
                f"are replaced by defective ones, from 0 to {MOST}"
            )
        if self.folder not in (None, OWN) and not Path(self.folder).expanduser().is_dir():
            raise ValueError(
                f"data.contamination_from={self.folder} is no folder; it must hold defective images, or a folder of "
                f"them for each category, or be {OWN} for some of the test's own, or null for synthetic defects"
            )

    def spoil(
        self, parts: Sequence[Part], cut: Mapping[str, list[Row]], aspect: str, cache: Path
    ) -> tuple[list[Part], dict[str, list[Row]]]:
        """The categories' own parts, after them one of defective images for each, and the splits that hold of both.

        ValueError where the share is less than an image, where the folder holds fewer than are wanted, or images of the
        test set.
        """
        made, swaps, held = list(parts), dict[Row, Row](), set[Row]()
        for label, own in enumerate(parts):
            if self.folder == OWN:
                held |= {(label, row) for row in self.held_out(own)}
            kept = {row for name, rows in cut.items() if name != "test" for part, row in rows if part == label}
            order = [row for row in self._order(own) if row in kept]
            count = self._count(own.samples[0].category, len(order))
            if not count:
                continue
            if self.folder is None:
                # All that any share could want, so that all shares have one store, and its features, in common.
                part, rows = self._imagined(own, order[: round(MOST * len(order))], cache), list(range(count))
            elif self.folder == OWN:
                part, rows = self._tested(own, count, len(order))
            else:
                part, rows = self._brought(own, count, len(order), aspect, cache)
            swaps |= {(label, row): (len(made), dirty) for row, dirty in zip(order[:count], rows, strict=True)}
            made.append(part)
        return made, {name: [swaps.get(row, row) for row in rows if row not in held] for name, rows in cut.items()}

    def describe(self) -> dict[str, Any]:
        """The share and where the defective images come from, for the record; nothing where all is clean and tested."""
        if not self.share and self.folder != OWN:
            return {}
        known = {
            None: "synthetic defects on the very images",
            OWN: "half of the test defects of each kind, held out of the test set",
        }
        return {"contamination": self.share, "dirty_from": known.get(self.folder, self.folder)}

    def held_out(self, own: Part) -> list[int]:
        """Half of the test rows of each kind of defect, the smaller half, in the order in which they are drawn."""
        kinds: dict[str, list[int]] = {}
        for row, sample in enumerate(own.samples):
            if sample.split == "test" and sample.anomalous:
                kinds.setdefault(sample.defect, []).append(row)
        rng = splits.generator(self.seed, own.samples[0].category, "held out")
        halves = [rng.permutation(kinds[kind])[: len(kinds[kind]) // 2] for kind in sorted(kinds)]
        return [int(row) for row in rng.permutation(np.concatenate(halves))] if halves else []

    def _count(self, category: str, of: int) -> int:
        """How many of a category's images are replaced: some, where any share above 0 is asked for."""
        count = round(self.share * of)
        if self.share and not count:
            least = 0.5 / of
            allowed = f"0 or above {least:.4g}, which replaces one" if least < MOST else "0"
            raise ValueError(
                f"data.contamination={self.share:g} replaces no image: it is half an image or less of the {of} of "
                f"{category} that are trained on; it must be {allowed}"
            )
        return count

    def _order(self, own: Part) -> list[int]:
        """All normal rows of a category, in the order in which they are replaced."""
        normal = [row for row, sample in enumerate(own.samples) if sample.split == "train"]
        shuffled = splits.generator(self.seed, own.samples[0].category, "replaced").permutation(len(normal))
        return [normal[position] for position in shuffled]

    def _imagined(self, own: Part, rows: list[int], cache: Path) -> Part:
        """The part of these images with synthetic defects, none of which a head or a search would draw by this seed."""
        seed = int(splits.generator(self.seed, own.samples[0].category, "defects").integers(2**63))
        store, samples = open_imagined(own.store, own.samples, rows, Recipe(seed=seed), cache)
        return Part(own.label, store, samples, unnoticed=True)

    def _tested(self, own: Part, count: int, of: int) -> tuple[Part, list[int]]:
        """The part of the category's own images as ones whose defects go unnoticed, and the rows that are taken."""
        held = self.held_out(own)
        self._enough(own.samples[0].category, count, of, len(held))
        return replace(own, unnoticed=True), held[:count]

    def _brought(self, own: Part, count: int, of: int, aspect: str, cache: Path) -> tuple[Part, list[int]]:
        """The part of all images that the folder holds for a category, and the rows of those that are taken."""
        category = own.samples[0].category
        assert self.folder is not None
        held = Brought(Path(self.folder).expanduser()).samples(category)
        self._enough(category, count, of, len(held))
        canvas = own.store.images.shape[1], own.store.images.shape[2]
        bits = decode.grey_bits([sample.path for sample in own.samples if sample.split == "train"])
        store = ImageStore.open(held, canvas, aspect, cache, bits)
        tested = {int(own.store.keys[row]) for row, sample in enumerate(own.samples) if sample.split == "test"}
        shared = [sample.name for sample, key in zip(held, store.keys, strict=True) if int(key) in tested]
        if shared:
            raise ValueError(
                f"data.contamination_from={self.folder} holds {len(shared)} images that are also in the test set of "
                f"{category}, first {shared[0]}: what is trained on cannot be tested on; take them out of one, or "
                f"set data.contamination_from={OWN}, which does"
            )
        order = splits.generator(self.seed, category, "brought").permutation(len(held))
        return Part(own.label, store, held, unnoticed=True), order[:count].tolist()

    def _enough(self, category: str, count: int, of: int, held: int) -> None:
        if count > held:
            raise ValueError(
                f"data.contamination={self.share:g} replaces {count} of the {of} normal images of {category} by "
                f"defective ones, but data.contamination_from={self.folder} holds {held} for it"
            )
