"""Batches of items, and which items make a training batch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from diffect.data.canvas import inside
from diffect.data.sample import Sample
from diffect.data.store import ImageStore

Extract = Callable[[Tensor], Tensor]
Batch = dict[str, Tensor]
Row = tuple[int, int]  # of a split: the part, and the row in it


def unattached(_: Tensor) -> Tensor:
    """What stands for an extractor until there is one."""
    raise ValueError("DataModule.attach must be called before its loaders are asked for")


@dataclass(frozen=True)
class Part:
    """Images of one category, its own, or others made from them or brought in: what rows of a split point into.

    `label` is the category's position. `raw` is what batches hold of the images: features (N, C, h, w), one row per
    image, or a function that makes them. `unnoticed`: the images are defective and nobody knows; batches call them
    normal, and only their samples tell. `origins`: where the images are copies, the row that each is a copy of.
    """

    label: int
    store: ImageStore
    samples: list[Sample]
    raw: NDArray[np.float32] | Extract = unattached
    unnoticed: bool = False
    origins: tuple[Row, ...] = ()


class Items(Dataset[Batch]):
    """Rows (part, row) of parts, fetched a batch at a time; `lean` leaves only raw, label and key."""

    def __init__(self, rows: Sequence[Row], parts: Sequence[Part], lean: bool) -> None:
        self.rows, self.parts, self.lean = rows, parts, lean

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, positions: list[int]) -> Batch:
        """The batch of these positions, as `DataLoader` asks for it; nothing in it depends on its company."""
        picked = [(self.parts[part], row) for part, row in (self.rows[position] for position in positions)]
        batch = {
            "raw": torch.cat([_raw(part, row) for part, row in picked]),  # (B, C, h, w)
            "label": torch.tensor([part.label for part, _ in picked]),
            "key": torch.tensor([int(part.store.keys[row]) for part, row in picked]),
        }
        if self.lean:
            return batch
        image = torch.cat([images(part.store, np.array([row])) for part, row in picked])
        canvas = image.shape[-2], image.shape[-1]
        masks = np.stack([part.store.masks[row] * (not part.unnoticed) for part, row in picked])
        boxes = [part.store.valid_boxes[row].tolist() for part, row in picked]
        return batch | {
            "image": image,  # (B, 3, H, W)
            "mask": torch.from_numpy(masks).bool(),  # (B, H, W)
            "valid": torch.from_numpy(inside(canvas, boxes)),  # (B, H, W)
            "anomalous": torch.tensor([part.samples[row].anomalous and not part.unnoticed for part, row in picked]),
            "has_mask": torch.tensor([bool(part.store.has_mask[row]) or part.unnoticed for part, row in picked]),
            "index": torch.tensor([row for _, row in picked]),
        }


def _raw(part: Part, row: int) -> Tensor:
    """What the batch holds of one image, (1, C, h, w)."""
    if not callable(part.raw):
        return torch.from_numpy(np.array(part.raw[row : row + 1]))
    with torch.no_grad():
        return part.raw(images(part.store, np.array([row])))


class Batches(Sampler[list[int]]):
    """Batches of positions as a pure function of (seed, epoch, step), balanced over the groups.

    Slot g of an epoch (g = step * batch_size + place) takes group g mod G, and there the next position of an
    endless series of permutations seeded by (seed, epoch, group, turn). Of fewer images than a batch has places each
    comes about as often as any other, at noise of its own every time.
    """

    def __init__(
        self, groups: list[list[int]], batch_size: int, batches: int, seed: int, epoch: Callable[[], int]
    ) -> None:
        self.groups, self.batch_size, self.batches, self.seed, self.epoch = (
            groups,
            batch_size,
            batches,
            seed,
            epoch,
        )

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[int]]:
        epoch = self.epoch()
        return (self.at(epoch, step) for step in range(self.batches))

    def at(self, epoch: int, step: int) -> list[int]:
        """The batch of this step."""
        batch = []
        for slot in range(step * self.batch_size, (step + 1) * self.batch_size):
            place, group = divmod(slot, len(self.groups))
            turn, position = divmod(place, len(self.groups[group]))
            batch.append(
                self.groups[group][_permutation(self.seed, epoch, group, turn, len(self.groups[group]))[position]]
            )
        return batch


@lru_cache(maxsize=256)
def _permutation(seed: int, epoch: int, group: int, turn: int, count: int) -> list[int]:
    order: list[int] = np.random.Generator(np.random.PCG64([seed, epoch, group, turn])).permutation(count).tolist()
    return order


def images(store: ImageStore, rows: NDArray[np.int64]) -> Tensor:
    """The decoded images of these rows, (B, 3, H, W) uint8."""
    return torch.from_numpy(store.images[rows]).permute(0, 3, 1, 2).contiguous()  # (B, 3, H, W)


def as_is(batch: Batch) -> Batch:
    """The collate function: `Items` gives whole batches."""
    return batch


@dataclass(frozen=True)
class Passes:
    """`make` of each batch, anew in every pass: what is solved at once may go through its data several times."""

    batches: Iterable[Batch]
    make: Callable[[Batch], tuple[Any, ...]]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return map(self.make, self.batches)
