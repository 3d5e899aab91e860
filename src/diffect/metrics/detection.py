"""Gathers the test images of one category batch by batch, maps on disk, and computes all figures at the end."""

import tempfile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from diffect.metrics.evaluation import METRICS, Evaluation, ScoredImages


class Spill:
    """Maps, masks and valid (B, *size) of one size, appended to a temporary file (in $TMPDIR), not kept in memory."""

    def __init__(self) -> None:
        self._file: Any = None  # opened by the first batch: most detectors are never tested
        self._row: np.dtype[np.void] | None = None
        self._count = 0

    def append(self, maps: NDArray[np.float32], masks: NDArray[np.bool_], valid: NDArray[np.bool_]) -> None:
        """Add a batch; ValueError where its size is not that of those before."""
        size = maps.shape[1:]
        row = np.dtype([("map", "<f4", size), ("mask", "?", size), ("valid", "?", size)], align=True)
        if self._row is None:
            self._row, self._file = row, tempfile.TemporaryFile(prefix="diffect-")  # noqa: SIM115
        if row != self._row:
            raise ValueError(f"maps of one category must have one size; they have {self._row['map'].shape} and {size}")
        rows = np.zeros(len(maps), row)
        rows["map"], rows["mask"], rows["valid"] = maps, masks, valid
        self._file.write(rows.tobytes())
        self._count += len(maps)

    def __len__(self) -> int:
        return self._count

    def read(self) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.bool_]]:
        """All maps, masks and valid (N, *size), mapped from the file, so that only what is used is read."""
        assert self._row is not None
        self._file.flush()
        rows = np.memmap(self._file, self._row, "r", shape=(self._count,))
        return rows["map"], rows["mask"], rows["valid"]


class DetectionMetrics(Metric):
    """Image, pixel and conformal figures of one category, with bootstrap intervals.

    Scores are kept raw, and maps as float32 in a temporary file: curves that are binned or squashed batch by batch are
    wrong. Before `compute` set `threshold` to the conformal one, or `no_threshold` to why there is none. Images must
    come in the same order in every run for replicates to pair.

    Args:
        category: seeds the resamples, with nothing else.
        replicates: bootstrap resamples of the test images.
        bins: of the histograms that pixel replicates come from.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False
    scores: list[Tensor]  # (B,) float64
    labels: list[Tensor]  # (B, 2): anomalous, has_mask

    def __init__(self, category: str, replicates: int = 1000, bins: int = 2048) -> None:
        # No cache: a threshold that is set after a first compute must count.
        super().__init__(compute_with_cache=False)
        self.category, self.replicates, self.bins = category, replicates, bins
        self.threshold: float | None = None
        self.no_threshold = ""
        self.add_state("scores", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")
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
        self.scores.append(torch.from_numpy(images.scores))
        self.labels.append(torch.from_numpy(np.stack([images.anomalous, images.has_mask], axis=1)))
        self._spill.append(images.maps, images.masks, images.valid)

    def compute(self) -> Evaluation:
        """All figures over the images given so far; all are undefined where there are none."""
        if not self._spill:
            nothing = Evaluation()
            nothing.omit(METRICS, "no test images")
            return nothing
        anomalous, has_mask = dim_zero_cat(self.labels).numpy().T
        scores = dim_zero_cat(self.scores).numpy()
        images = ScoredImages(self.category, scores, anomalous, *self._spill.read(), has_mask)
        return images.evaluate(self.threshold, self.replicates, self.bins, self.no_threshold)

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self._spill = Spill()
