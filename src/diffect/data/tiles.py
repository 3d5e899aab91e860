"""Overlapping tiles: images that are larger than what a detector sees at once, cut up and put together again."""

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import torch
from torch import Tensor

from diffect.config.check import checked
from diffect.config.types import NonNegativeInt, PositiveInt
from diffect.data.batches import Batch
from diffect.data.canvas import box_slices
from diffect.data.ignored import without

AT_ONCE = 16  # tiles that a network sees at once, which bounds the memory


@checked
class Tiles:
    """Square tiles of `size` pixels that cover an image, `overlap` pixels in common with their neighbours.

    A detector learns tiles as if they were images. What it finds on the tiles of an image is merged to one grid before
    anything is calibrated or scored: in an overlap to a mean, with weights that fall towards the edges of tiles.

    Args:
        size: of a tile; None leaves images whole.
        overlap: smaller than a tile.
    """

    def __init__(self, size: PositiveInt | None = None, overlap: NonNegativeInt = 0) -> None:
        if size is not None and overlap >= size:
            raise ValueError(
                f"data.tiles.size is {size}; it must be more than data.tiles.overlap, {overlap}: take larger tiles, or "
                "a smaller overlap"
            )
        self.size, self.overlap = size, overlap

    def __bool__(self) -> bool:
        return self.size is not None

    @property
    def name(self) -> str:
        """Names the settings, in the key of a cache."""
        return f"tiles={self.size},{self.overlap}" if self else ""

    def shape(self, canvas: Sequence[int]) -> tuple[int, ...]:
        """The size of a tile of the canvas, or the canvas itself; ValueError where tiles are larger."""
        if self.size is None:
            return tuple(canvas)
        if self.size > min(canvas):
            sides = " x ".join(map(str, canvas))
            raise ValueError(f"data.tiles.size is {self.size}, larger than the images of {sides} pixels (data.size)")
        return (self.size,) * len(canvas)

    def corners(self, canvas: Sequence[int]) -> list[tuple[int, ...]]:
        """Where each tile begins; the last ones end where the canvas does, and may overlap more."""
        if self.size is None:
            return [(0,) * len(canvas)]
        step = self.size - self.overlap
        return list(product(*([*range(0, side - self.size, step), side - self.size] for side in canvas)))

    def count(self, canvas: Sequence[int]) -> int:
        """How many tiles an image has."""
        return len(self.corners(canvas))

    def cut(self, images: Tensor) -> Tensor:
        """The tiles (B, T, C, *tile) of images (B, C, *canvas)."""
        canvas = images.shape[2:]
        side = self.shape(canvas)
        boxes: list[tuple[Any, ...]] = [(..., *box_slices((*corner, *side))) for corner in self.corners(canvas)]
        return torch.stack([images[box] for box in boxes], dim=1)

    def extract(self, function: Callable[[Tensor], Tensor], images: Tensor, ignored: Tensor) -> Tensor:
        """The features raw (B, C', *grid) of images (B, C, *canvas), or (B, T, C', *grid) of their tiles.

        A cell with an ignored pixel (B, *canvas) is missing, see `data.ignored`.
        """
        if not self:
            return without(function(images), ignored)
        tiles = self.cut(images)
        made = torch.cat([function(some) for some in tiles.flatten(0, 1).split(AT_ONCE)])
        return without(made, self.cut(ignored[:, None])[:, :, 0].flatten(0, 1)).unflatten(0, tiles.shape[:2])

    def apart(self, batch: Batch) -> Batch:
        """A batch in which each tile is an image: raw (B T, C, *grid) from (B, T, C, *grid), label and key (B T,)."""
        if not self:
            return batch
        raw = batch["raw"]
        keys = batch["key"][:, None] + torch.arange(raw.shape[1])  # other noise on each tile
        made = batch | {"raw": raw.flatten(0, 1), "key": keys.flatten()}
        return made if "label" not in batch else made | {"label": batch["label"].repeat_interleave(raw.shape[1])}

    def check(self, canvas: Sequence[int], grid: Sequence[int]) -> None:
        """ValueError where the grids of the tiles of a canvas do not fit onto one grid."""
        cells = [side / cells for side, cells in zip(self.shape(canvas), grid, strict=True)]
        for corner in self.corners(canvas):
            for start, cell in zip(corner, cells, strict=True):
                if start % cell:
                    raise ValueError(
                        f"data.tiles: a tile begins at pixel {start}, and cells have {cell:g} pixels; choose "
                        f"data.size, data.tiles.size and data.tiles.overlap as multiples of {cell:g}"
                    )

    def merge(self, values: Tensor, canvas: Sequence[int]) -> Tensor:
        """Values (B, K, *whole grid) of a canvas from those of its tiles, (B T, K, *grid of a tile)."""
        if not self:
            return values
        grid, side, corners = values.shape[2:], self.shape(canvas), self.corners(canvas)
        scales = [cells / pixels for cells, pixels in zip(grid, side, strict=True)]
        weight = values.new_ones(grid)
        for axis, cells in enumerate(grid):
            steps = torch.arange(cells, device=values.device, dtype=values.dtype)
            falling = (torch.minimum(steps, cells - 1 - steps) + 1).view(-1, *[1] * (len(grid) - 1 - axis))
            weight = weight * falling
        whole = [round(pixels * scale) for pixels, scale in zip(canvas, scales, strict=True)]
        of_image = values.unflatten(0, (-1, len(corners)))
        merged, total = of_image.new_zeros(len(of_image), values.shape[1], *whole), values.new_zeros(whole)
        for tile, corner in enumerate(corners):
            starts = [round(start * scale) for start, scale in zip(corner, scales, strict=True)]
            place: tuple[Any, ...] = (..., *box_slices((*starts, *grid)))
            merged[place] += weight * of_image[:, tile]
            total[place] += weight
        return merged / total
