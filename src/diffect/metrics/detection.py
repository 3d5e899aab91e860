"""Gathers the test images of one category batch by batch, maps on disk, and computes all figures at the end."""

from __future__ import annotations

import math
import tempfile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from diffect.metrics.evaluation import Evaluation, ScoredImages

if TYPE_CHECKING:
    from torch import Tensor


class Spill:
    """Arrays (B, *size) of one size and dtype, appended to a temporary file (in $TMPDIR) rather than kept in memory.

    Booleans take a bit each.
    """

    def __init__(self, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self.size: tuple[int, ...] | None = None
        self._count = 0
        self._file = tempfile.TemporaryFile(prefix="diffect-")  # noqa: SIM115  (open for as long as the spill lives)

    def append(self, arrays: NDArray[Any]) -> None:
        """Add arrays (B, *size); ValueError where their size is not that of those before."""
        if self.size is None:
            self.size = arrays.shape[1:]
        if arrays.shape[1:] != self.size:
            raise ValueError(f"maps of one category must have one size; they have {self.size} and {arrays.shape[1:]}")
        rows = arrays.astype(self.dtype, copy=False).reshape(len(arrays), -1)
        self._file.write(np.packbits(rows, axis=1).data if self.dtype == bool else np.ascontiguousarray(rows).data)
        self._count += len(arrays)

    def read(self) -> NDArray[Any]:
        """All arrays (N, *size): mapped, not read, unless they are booleans."""
        assert self.size is not None
        self._file.flush()
        cells = math.prod(self.size)
        if self.dtype == bool:
            packed = np.memmap(self._file, np.uint8, "r", shape=(self._count, -(-cells // 8)))
            return np.unpackbits(packed, axis=1, count=cells).view(bool).reshape(self._count, *self.size)
        return np.memmap(self._file, self.dtype, "r", shape=(self._count, *self.size))


class DetectionMetrics:
    """Image, pixel and conformal figures of one category, with bootstrap intervals.

    Scores are kept raw, and maps as float32 in a temporary file: curves that are binned or squashed batch by batch are
    wrong. Set `threshold` (the conformal one, or None) before `compute`. Images must come in the same order in every
    run for replicates to pair.

    Args:
        category: seeds the resamples, with nothing else.
        replicates: bootstrap resamples of the test images.
        bins: of the histograms that pixel replicates come from.
    """

    def __init__(self, category: str, replicates: int = 1000, bins: int = 2048) -> None:
        self.category, self.replicates, self.bins = category, replicates, bins
        self.threshold: float | None = None
        self._scores: list[NDArray[np.float64]] = []
        self._labels: list[NDArray[np.bool_]] = []  # (B, 2): anomalous, has_mask
        self._maps, self._masks, self._valid = Spill(np.float32), Spill(bool), Spill(bool)

    def update(
        self, scores: Tensor, anomalous: Tensor, maps: Tensor, masks: Tensor, valid: Tensor, has_mask: Tensor
    ) -> None:
        """Add images: scores, anomalous, has_mask (B,); maps, masks, valid (B, *size); ValueError if unfit."""
        images = ScoredImages(
            self.category,
            scores.detach().cpu().double().numpy(),
            anomalous.cpu().bool().numpy(),
            maps.detach().cpu().float().numpy(),
            masks.cpu().bool().numpy(),
            valid.cpu().bool().numpy(),
            has_mask.cpu().bool().numpy(),
        )
        self._scores.append(images.scores)
        self._labels.append(np.stack([images.anomalous, images.has_mask], axis=1))
        for spill, arrays in ((self._maps, images.maps), (self._masks, images.masks), (self._valid, images.valid)):
            spill.append(arrays)

    def compute(self) -> Evaluation:
        """All figures over the images given so far; ValueError where there are none."""
        if not self._scores:
            raise ValueError(f"No test image of category '{self.category}' was given to the metrics.")
        anomalous, has_mask = np.concatenate(self._labels).T
        maps, masks, valid = self._maps.read(), self._masks.read(), self._valid.read()
        scores = np.concatenate(self._scores)
        images = ScoredImages(self.category, scores, anomalous, maps, masks, valid, has_mask)
        return images.evaluate(self.threshold, self.replicates, self.bins)
