"""Batches of items, and which items make a training batch."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from diffect.data.canvas import IGNORED, inside
from diffect.data.sample import Kind, Sample
from diffect.data.store import Store

Extract = Callable[[Tensor, Tensor], Tensor]  # of samples (B, C, *size), and of where they are ignored (B, *size)
Batch = dict[str, Tensor]
Row = tuple[int, int]  # of a split: the part, and the row in it


def unattached(*_: Tensor) -> Tensor:
    """Stands for an extractor until one is attached."""
    raise ValueError("DataModule.attach must be called before its loaders are asked for")


@dataclass(frozen=True)
class Part:
    """Samples of one category that rows of a split point into: those of the source, copies of them, or contamination.

    `label` is the category's position. `raw` is what batches hold of the samples: features (N, C, *grid), one row per
    sample, or a function that computes them. `mislabelled`: the samples are defective, but batches call them normal.
    `added`: they are not the source's. `origins`: where the samples are copies, the row that each is a copy of.
    """

    label: int
    store: Store
    samples: list[Sample]
    raw: NDArray[np.float32] | Extract = unattached
    mislabelled: bool = False
    added: bool = False
    origins: tuple[Row, ...] = ()


class Items(Dataset[Batch]):
    """Rows (part, row) of parts, fetched a batch at a time.

    `lean` leaves only raw, label and key, for training. There each of the `tiles` of a row, where it has several, is
    an item, tile by tile, row by row.
    """

    def __init__(self, rows: Sequence[Row], parts: Sequence[Part], lean: bool, tiles: int = 1) -> None:
        self.rows, self.parts, self.lean, self.tiles = rows, parts, lean, tiles

    def __len__(self) -> int:
        return len(self.rows) * self.tiles

    def __getitems__(self, positions: list[int]) -> Batch:
        """The batch of these positions, as `DataLoader` asks for it; each item is independent of the others."""
        rows = [self.rows[position // self.tiles] for position in positions]
        picked = [(self.parts[part], row) for part, row in rows]
        batch = {
            "raw": torch.cat([_raw(part, row) for part, row in picked]),  # (B, C, *grid), or (B, T, C, *grid) of tiles
            "label": torch.tensor([part.label for part, _ in picked]),
            "key": torch.tensor([int(part.store.keys[row]) for part, row in picked]),
        }
        if self.tiles > 1:
            tile = torch.tensor(positions) % self.tiles
            batch["raw"] = batch["raw"][torch.arange(len(tile)), tile][:, None]  # (B, 1, C, *grid)
            batch["key"] += tile
        if self.lean:
            return batch
        image = torch.cat([arrays(part.store, np.array([row])) for part, row in picked])
        marked = np.stack([part.store.masks[row] for part, row in picked])
        mislabelled = np.array([part.mislabelled for part, _ in picked]).reshape(-1, *[1] * (marked.ndim - 1))
        boxes = [part.store.boxes[row].tolist() for part, row in picked]
        valid = inside(tuple(image.shape[2:]), boxes) & (marked != IGNORED)
        return batch | {
            "image": image,  # (B, C, *size)
            "mask": torch.from_numpy((marked == 1) & ~mislabelled),  # (B, *size)
            "valid": torch.from_numpy(valid),  # (B, *size): neither padding nor ignored
            "box": torch.tensor(boxes),  # (B, 2 * rank)
            "anomalous": torch.tensor([part.samples[row].anomalous and not part.mislabelled for part, row in picked]),
            "has_mask": torch.tensor([bool(part.store.has_mask[row]) or part.mislabelled for part, row in picked]),
            "index": torch.tensor([row for _, row in picked]),
        }


def _raw(part: Part, row: int) -> Tensor:
    """What the batch holds of one sample, (1, C, *grid)."""
    if not callable(part.raw):
        return torch.from_numpy(np.array(part.raw[row : row + 1]))
    with torch.no_grad():
        return part.raw(arrays(part.store, np.array([row])), ignored(part.store, np.array([row])))


class Batches(Sampler[list[int]]):
    """Batches of positions as a pure function of (seed, epoch, step), balanced over the groups.

    Slot g of an epoch (g = step * batch_size + position in the batch) takes group g mod G, and there the next position
    of an endless series of permutations seeded by (seed, epoch, group, turn). Fewer samples than a batch holds occur
    about equally often, with new noise every time.
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


def arrays(store: Store, rows: NDArray[np.int64]) -> Tensor:
    """The decoded samples of these rows, (B, C, *size), of the source's dtype."""
    return torch.from_numpy(store.arrays[rows]).movedim(-1, 1).contiguous()


def ignored(store: Store, rows: NDArray[np.int64]) -> Tensor:
    """Where the samples of these rows are ignored, (B, *size)."""
    return torch.from_numpy(store.masks[rows] == IGNORED)


def zeros(kind: Kind, size: Sequence[int]) -> Tensor:
    """A blank sample as a batch (1, C, *size), of the kind's dtype."""
    return torch.from_numpy(np.zeros((1, kind.channels, *size), kind.dtype))


def collate(batch: Any) -> Any:
    """A whole batch as `Items` gives it; from a worker as arrays, which go through its pipe, if tensors might not fit.

    Tensors go through shared memory, which is faster. A container has little of it, and where that is full a run hangs.
    """
    worker = get_worker_info()
    if worker is None:
        return batch
    size = sum(tensor.nbytes for tensor in batch.values())
    try:
        fits = 2 * worker.num_workers * size < shutil.disk_usage("/dev/shm").free
    except FileNotFoundError:  # not Linux
        fits = True
    return batch if fits else {name: tensor.numpy() for name, tensor in batch.items()}


class Loader(DataLoader[Batch]):
    """A DataLoader of whole batches, which can also be asked for the items at any positions."""

    def __init__(self, items: Items, **settings: Any) -> None:
        super().__init__(items, collate_fn=collate, **settings)
        self.items = items

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """Batches of tensors, in order."""
        for batch in super().__iter__():
            yield {name: torch.as_tensor(value) for name, value in batch.items()}

    def batch(self, positions: Sequence[int]) -> Batch:
        """One batch of the items at these positions."""
        return self.items.__getitems__(list(positions))

    def subset(self, positions: Sequence[int]) -> Loader:
        """Batches, of the same size, of the items at these positions."""
        rows = [self.items.rows[position] for position in positions]
        return Loader(Items(rows, self.items.parts, self.items.lean), batch_size=self.batch_size)


@dataclass(frozen=True)
class Passes:
    """A re-iterable view of batches that applies `make` to each: a closed form may need several passes."""

    batches: Iterable[Batch]
    make: Callable[[Batch], tuple[Any, ...]]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return map(self.make, self.batches)
