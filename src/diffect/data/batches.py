"""Batches of items, and which items make a training batch."""

from collections.abc import Callable, Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from diffect.data.cache import ImageStore
from diffect.data.canvas import inside
from diffect.data.mvtec import Sample

Extract = Callable[[Tensor], Tensor]
Batch = dict[str, Tensor]


class Items(Dataset[Batch]):
    """Rows of image stores, fetched a batch at a time; `lean` leaves only raw, label and key."""

    def __init__(
        self,
        rows: list[tuple[int, int]],
        stores: list[ImageStore],
        samples: list[list[Sample]],
        raw: list[NDArray[np.float32]] | Extract,
        lean: bool,
    ) -> None:
        self.rows, self.stores, self.samples, self.raw, self.lean = rows, stores, samples, raw, lean

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, positions: list[int]) -> Batch:
        """The batch of these positions, as `DataLoader` asks for it; nothing in it depends on its company."""
        picked = [self.rows[position] for position in positions]
        image = None
        if not self.lean or callable(self.raw):
            image = torch.cat([images(self.stores[c], np.array([row])) for c, row in picked])
        if callable(self.raw):
            assert image is not None
            with torch.no_grad():
                raw = self.raw(image)
        else:
            raw = torch.from_numpy(np.stack([self.raw[c][row] for c, row in picked]))
        batch = {
            "raw": raw,  # (B, C, h, w)
            "label": torch.tensor([c for c, _ in picked]),
            "key": torch.tensor([int(self.stores[c].keys[row]) for c, row in picked]),
        }
        if self.lean:
            return batch
        assert image is not None
        canvas = image.shape[-2], image.shape[-1]
        masks = np.stack([self.stores[c].masks[row] for c, row in picked])
        boxes = [self.stores[c].valid_boxes[row].tolist() for c, row in picked]
        return batch | {
            "image": image,  # (B, 3, H, W)
            "mask": torch.from_numpy(masks).bool(),  # (B, H, W)
            "valid": torch.from_numpy(inside(canvas, boxes)),  # (B, H, W)
            "anomalous": torch.tensor([self.samples[c][row].anomalous for c, row in picked]),
            "has_mask": torch.tensor([bool(self.stores[c].has_mask[row]) for c, row in picked]),
            "index": torch.tensor([row for _, row in picked]),
        }


class Batches(Sampler[list[int]]):
    """Batches of positions as a pure function of (seed, epoch, step), balanced over the groups.

    Slot g of an epoch (g = step * batch_size + place) takes group g mod G, and there the next position of an
    endless series of permutations seeded by (seed, epoch, group, turn).
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
