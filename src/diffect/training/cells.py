"""Training batches of single cells, drawn from all fit images."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffect.data.batches import Batch
from diffect.representations.missing import present


@dataclass(frozen=True)
class CellBatches:
    """Batches of random cells of normal images, as a pure function of (seed, epoch, step).

    A batch holds x0 (M, C, *1) and label (M,). Each cell is a sample with a grid of one cell and has its own noise
    level, so a step sees M levels, where a batch of images sees one for each image. Categories take turns in a batch;
    within a category every cell of every image is equally likely.

    Args:
        cells: (N, C) of each category, on the CPU.
        axes: the number of spatial axes.
        size: M, cells in a batch.
        batches: in an epoch.
        seed: of the draws.
        epoch: tells the current epoch.
    """

    cells: list[Tensor]
    axes: int
    size: int
    batches: int
    seed: int
    epoch: Callable[[], int]

    @classmethod
    def of(
        cls,
        encoded: Iterable[tuple[Tensor, Tensor | None]],
        classes: int,
        size: int,
        batches: int,
        seed: int,
        epoch: Callable[[], int],
    ) -> "CellBatches":
        """From x0 (B, C, *grid) and labels (B,) of all fit images, kept in half precision without missing cells."""
        parts: list[list[Tensor]] = [[] for _ in range(classes)]
        axes = 0
        for x0, label in encoded:
            axes = x0.ndim - 2
            for group in range(classes):
                chosen = x0 if label is None else x0[label == group]
                parts[group].append(chosen.movedim(1, -1)[present(chosen)].half().cpu())
        return cls([torch.cat(part) for part in parts], axes, size, batches, seed, epoch)

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Batch]:
        epoch = self.epoch()
        return (self.at(epoch, step) for step in range(self.batches))

    def at(self, epoch: int, step: int) -> Batch:
        """The batch of this step."""
        label = np.arange(self.size) % len(self.cells)
        drawn = np.random.default_rng([self.seed, epoch, step]).random(self.size)
        x0 = torch.empty(self.size, self.cells[0].shape[1])
        for group, cells in enumerate(self.cells):
            slots = np.flatnonzero(label == group)
            x0[slots] = cells[(drawn[slots] * len(cells)).astype(np.int64)].float()
        return {"x0": x0.view(*x0.shape, *[1] * self.axes), "label": torch.from_numpy(label)}
