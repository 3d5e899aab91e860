"""The normal training patches that are nearest to a patch of an image, and where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor

from diffect.data.datamodule import DataModule
from diffect.data.folds import originals
from diffect.detector.images import Box, Fitting
from diffect.detector.predictor import Predictor
from diffect.runs.record import Record
from diffect.training import build

Cells = tuple[int, int, int]  # top row, left column and side of a square of grid cells


@dataclass(frozen=True)
class Neighbour:
    """A patch of a training image: its distance, its box in the photograph, the fitted image and its cells."""

    name: str  # CATEGORY/NAME of the image
    distance: float
    box: Box
    image: NDArray[np.uint8]  # (H, W, 3)
    cells: Cells


@dataclass(frozen=True)
class Neighbourhood:
    """The normal patches near a patch.

    `anywhere`: the nearest patch of each of the nearest images, nearest first. `here`: the nearest at the same place,
    None without an image. `usual`: how far normal images are from each other at this place, see `usual_distance`.
    """

    anywhere: list[Neighbour]
    here: Neighbour | None
    usual: float | None
    searched: int


def cells_at(peak: tuple[int, int], canvas: tuple[int, int], grid: tuple[int, int]) -> Cells:
    """The patch that is compared: the cell in which a pixel lies.

    Where cells are pixels, a single one says too little: then a square around it, a sixteenth of the short side.
    """
    row, column = (pixel * cells // size for pixel, cells, size in zip(peak, grid, canvas, strict=True))
    side = max(1, min(grid) // 16) if grid == canvas else 1
    top, left = (min(max(cell - side // 2, 0), cells - side) for cell, cells in zip((row, column), grid, strict=True))
    return top, left, side


def distances(patches: Tensor, x0: Tensor) -> Tensor:
    """Root mean squares of differences, (Q, B, h', w'), of patches (Q, C, k, k) to all those of x0 (B, C, h, w)."""
    near = F.conv2d(x0, patches).movedim(1, 0)  # (Q, B, h', w'): the inner products
    energy = F.conv2d(x0.square().sum(1, keepdim=True), torch.ones_like(patches[:1, :1]))[:, 0]  # (B, h', w')
    squares = patches.square().flatten(1).sum(1).view(-1, 1, 1, 1) + energy - 2 * near
    return (squares / patches[0].numel()).clamp(min=0).sqrt()


def usual_distance(patches: Tensor) -> float | None:
    """The median, over patches (N, D), of the root mean square distance to the nearest of the others; None for one."""
    if len(patches) < 2:
        return None
    between = torch.cdist(patches.double(), patches.double())
    between.fill_diagonal_(torch.inf)
    return float((between.amin(1).square() / patches.shape[1]).sqrt().median())


class NormalImages:
    """The images that a run was fitted on, without their copies."""

    def __init__(self, data: DataModule, predictor: Predictor) -> None:
        self.data, self.predictor = data, predictor
        positions = originals(data, "fit")
        self.rows = [data.splits["fit"][position] for position in positions]
        self.loader = data.normal_dataloader("fit", positions)

    @classmethod
    def open(cls, trained: DictConfig, record: Record, predictor: Predictor) -> NormalImages:
        """The images of a run, without the outliers that it removed.

        ValueError where they are gone or have changed.
        """
        data: DataModule = build.open_data(trained)
        now = data.fingerprints()
        then = record.fingerprint, record.splits.contamination_fingerprint
        if (now["fingerprint"], now.get("contamination_fingerprint")) != then:
            raise ValueError("the images there are no longer those that the run was trained on")
        build.attach(data, predictor.representation, predictor.device)
        dropped = record.outlier_removal.dropped if record.outlier_removal else {}
        gone = {(category, one.name) for category, some in dropped.items() for one in some if one.split == "fit"}
        samples = [data.sample(*row) for row in data.splits["fit"]]
        data.drop("fit", [i for i, sample in enumerate(samples) if (sample.category, sample.name) in gone])
        return cls(data, predictor)

    @torch.no_grad()
    def nearest(
        self, x0: Tensor, cells: Sequence[Cells], labels: Sequence[int | None], count: int
    ) -> list[Neighbourhood]:
        """The normal patches nearest to one patch of each image.

        Distances are root mean squares over channels, in standard deviations of x0.

        Args:
            x0: (B, C, h, w), of the images.
            cells: of the patch of each image, all with one side.
            labels: the category whose normal images count for each image; None for all.
            count: how many normal images are returned at most, each with its nearest patch.
        """
        side, columns = cells[0][2], x0.shape[-1] - cells[0][2] + 1
        queries = torch.cat([_cut(one[None], cell) for one, cell in zip(x0, cells, strict=True)])
        places = [top * columns + left for top, left, _ in cells]
        parts = []
        for batch in self.loader:
            normal = self.predictor.x0(batch)
            values = distances(queries, normal).flatten(2).cpu()  # (Q, B, h' w')
            here = torch.stack([of_query[:, place] for of_query, place in zip(values, places, strict=True)])
            patches = torch.stack([_cut(normal, cell).flatten(1) for cell in cells])  # (Q, B, D)
            parts.append((batch["label"].expand(len(cells), -1), *values.min(2), here, patches))
        theirs, nearest, where, here, patches = (torch.cat(part, dim=1) for part in zip(*parts, strict=True))
        neighbourhoods = []
        for query, label in enumerate(labels):
            rows = torch.arange(theirs.shape[1]) if label is None else (theirs[query] == label).nonzero()[:, 0]
            matches = [
                (row, nearest[query, row], int(where[query, row])) for row in _lowest(nearest[query], rows, count)
            ]
            matches += [(row, here[query, row], places[query]) for row in _lowest(here[query], rows, 1)]
            neighbours = [
                self._neighbour(row, float(distance), (*divmod(cell, columns), side), x0.shape[2:])
                for row, distance, cell in matches
            ]
            usual = usual_distance(patches[query, rows])
            same_place = neighbours[-1] if neighbours else None
            neighbourhoods.append(Neighbourhood(neighbours[:-1], same_place, usual, len(rows)))
        return neighbourhoods

    def _neighbour(self, position: int, distance: float, cells: Cells, grid: Sequence[int]) -> Neighbour:
        batch = self.loader.batch([position])
        image = batch["image"][0].permute(1, 2, 0).numpy()
        sample = self.data.sample(*self.rows[position])  # contamination may have put another in the image's place
        box = Fitting.of(batch["box"][0].tolist(), sample.size()).out(*edges(cells, image.shape[:2], grid))
        return Neighbour(f"{sample.category}/{sample.name}", distance, box, image, cells)


def _cut(x0: Tensor, cells: Cells) -> Tensor:
    """The patches (B, C, side, side) of x0 (B, C, h, w) at these cells."""
    top, left, side = cells
    return x0[:, :, top : top + side, left : left + side]


def _lowest(values: Tensor, rows: Tensor, count: int) -> list[int]:
    """The `count` rows with the lowest values (N,), the lowest first, of equal ones the first."""
    lowest: list[int] = rows[values[rows].argsort(stable=True)[:count]].tolist()
    return lowest


def edges(cells: Cells, canvas: Sequence[int], grid: Sequence[int]) -> tuple[float, float, float, float]:
    """Top, left, bottom and right of cells, in pixels of the canvas."""
    top, left, side = cells
    down, across = canvas[0] / grid[0], canvas[1] / grid[1]
    return top * down, left * across, (top + side) * down, (left + side) * across
