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
    """Maps, masks and valid (B, *size) of one size, appended to a temporary file (in $TMPDIR), not kept in memory."""

    def __init__(self) -> None:
        self._file: Any = None  # opened by the first batch: most detectors are never tested
        self._row: np.dtype[np.void] | None = None
        self._count = 0

    def append(self, maps: NDArray[np.float32], masks: NDArray[np.bool_], valid: NDArray[np.bool_]) -> None:
        """Add a batch; ValueError where its size is not that of those before."""
        size, bits = maps.shape[1:], (-(-math.prod(maps.shape[1:]) // 8),)
        row = np.dtype([("map", "<f4", size), ("mask", "u1", bits), ("valid", "u1", bits)], align=True)
        if self._row is None:
            self._row, self._file = row, tempfile.TemporaryFile(prefix="diffect-")  # noqa: SIM115
        if row != self._row:
            raise ValueError(f"maps of one category must have one size; they have {self._row['map'].shape} and {size}")
        rows = np.zeros(len(maps), row)
        rows["map"] = maps
        for name, flags in (("mask", masks), ("valid", valid)):
            rows[name] = np.packbits(flags.reshape(len(maps), -1), axis=1)
        self._file.write(rows.tobytes())
        self._count += len(maps)

    def read(self) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """All maps (N, *size), mapped and not read, masks and valid."""
        assert self._row is not None
        self._file.flush()
        rows = np.memmap(self._file, self._row, "r", shape=(self._count,))
        size = self._row["map"].shape
        masks, valid = (
            np.unpackbits(rows[name], axis=1, count=math.prod(size)).view(bool).reshape(-1, *size)
            for name in ("mask", "valid")
        )
        return rows["map"], masks, valid


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
        self._spill = Spill()

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
        self._spill.append(images.maps, images.masks, images.valid)

    def compute(self) -> Evaluation:
        """All figures over the images given so far; ValueError where there are none."""
        if not self._scores:
            raise ValueError(f"No test image of category '{self.category}' was given to the metrics.")
        anomalous, has_mask = np.concatenate(self._labels).T
        images = ScoredImages(self.category, np.concatenate(self._scores), anomalous, *self._spill.read(), has_mask)
        return images.evaluate(self.threshold, self.replicates, self.bins)
