"""The normal training patches that are nearest to a patch of an image, and where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor

from diffect.data.datamodule import DataModule
from diffect.detector import calibration
from diffect.detector.images import Box, Fitting
from diffect.detector.predictor import Predictor
from diffect.representations.base import Representation
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


_Match = tuple[float, int, int]  # distance, position of the image among the fit images, cell of its grid


@dataclass
class _Search:
    """The nearest matches of one patch so far; `cell` is where it lies in its grid."""

    count: int
    cell: int
    anywhere: list[_Match] = field(default_factory=list)
    here: _Match | None = None
    patches_here: list[Tensor] = field(default_factory=list)
    searched: int = 0

    def add(self, values: Tensor, patches: Tensor, rows: list[int], start: int) -> None:
        """Add the allowed `rows` of a batch: distances (B, P) to all cells, and the patches (B, C, k, k) here."""
        nearest, cells = (part.tolist() for part in values.min(1))
        same = values[:, self.cell].tolist()
        self.anywhere = sorted([*self.anywhere, *((nearest[row], start + row, cells[row]) for row in rows)])
        del self.anywhere[self.count :]
        matches = [(same[row], start + row, self.cell) for row in rows]
        self.here = min([*matches, self.here] if self.here else matches, default=None)
        self.patches_here.append(patches[rows].flatten(1))
        self.searched += len(rows)


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

    def __init__(self, data: DataModule, representation: Representation) -> None:
        self.data, self.representation = data, representation
        positions = calibration.real(data, "fit")
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
        return cls(data, predictor.representation)

    @torch.no_grad()
    def nearest(
        self, x0: Tensor, cells: Sequence[Cells], labels: Sequence[int | None], count: int
    ) -> list[Neighbourhood]:
        """The normal patches nearest to the patch at the given cells, for each image of x0 (B, C, h, w).

        Only images of its category count, of `labels`, or all for None. Distances are root mean squares over channels,
        in standard deviations of x0.
        """
        side = cells[0][2]
        patches = [one[:, top : top + side, left : left + side] for one, (top, left, _) in zip(x0, cells, strict=True)]
        queries = torch.stack(patches)
        columns = x0.shape[-1] - side + 1
        here = [top * columns + left for top, left, _ in cells]
        searches = [_Search(count, cell) for cell in here]
        start = 0
        for batch in self.loader:
            known = self.representation.encode(batch["raw"].to(x0.device), batch["label"].to(x0.device))
            theirs = batch["label"].tolist()
            far = distances(queries, known).flatten(2)
            for search, label, row, (top, left, _) in zip(searches, labels, far, cells, strict=True):
                rows = [i for i, other in enumerate(theirs) if label in (None, other)]
                search.add(row.cpu(), known[:, :, top : top + side, left : left + side], rows, start)
            start += len(theirs)
        grid = int(x0.shape[2]), int(x0.shape[3])
        made = []
        for search in searches:
            anywhere = [self._neighbour(one, columns, side, grid) for one in search.anywhere]
            same = None if search.here is None else self._neighbour(search.here, columns, side, grid)
            made.append(Neighbourhood(anywhere, same, usual_distance(torch.cat(search.patches_here)), search.searched))
        return made

    def _neighbour(self, match: _Match, columns: int, side: int, grid: Sequence[int]) -> Neighbour:
        distance, position, cell = match
        batch = self.loader.batch([position])
        image, valid = batch["image"][0].permute(1, 2, 0).numpy(), batch["valid"][0].numpy()
        sample = self.data.sample(*self.rows[position])  # contamination may have put another in the image's place
        cells = (*divmod(cell, columns), side)
        box = Fitting.of(valid, sample.size()).out(*edges(cells, image.shape[:2], grid))
        return Neighbour(f"{sample.category}/{sample.name}", distance, box, image, cells)


def edges(cells: Cells, canvas: Sequence[int], grid: Sequence[int]) -> tuple[float, float, float, float]:
    """Top, left, bottom and right of cells, in pixels of the canvas."""
    top, left, side = cells
    down, across = canvas[0] / grid[0], canvas[1] / grid[1]
    return top * down, left * across, (top + side) * down, (left + side) * across
