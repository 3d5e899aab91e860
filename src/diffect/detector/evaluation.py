"""Where a scorer's components come from, and what each scoring level alone would have given on the test set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from diffect.data.batches import Batch
from diffect.detector.anomaly_map import AnomalyMap
from diffect.detector.prediction import Judgement
from diffect.metrics.conformal import conformal_threshold
from diffect.metrics.detection import DetectionMetrics
from diffect.metrics.evaluation import Evaluation
from diffect.scorers.base import Scorer

TOLD = ("image_auroc", "pixel_aupro_30")


def components_by_level(scorer: Scorer) -> dict[float, list[int]]:
    """Which of a scorer's components come from which log-SNR; empty if there are fewer than two levels."""
    found: dict[float, list[int]] = {}
    for component, origin in enumerate(scorer.origins):
        if origin.log_snr is not None:
            found.setdefault(origin.log_snr, []).append(component)
    return found if len(found) > 1 else {}


class LevelMetrics:
    """Gathers, level by level, the scores and maps that its components alone make; says nothing about intervals."""

    def __init__(self, places: Mapping[float, list[int]], categories: Sequence[str]) -> None:
        self._places = places
        self._metrics = {level: [DetectionMetrics(name, replicates=0) for name in categories] for level in places}

    def update(self, components: Tensor, anomaly_map: AnomalyMap, batch: dict[str, Tensor]) -> None:
        """Count in a test batch with its components (B, K, h, w); `anomaly_map` is calibrated for all of them."""
        for level, places in self._places.items():
            alone = anomaly_map.alone(places)
            maps = alone.map(components[:, places], batch["valid"].shape[1:], batch["label"])
            scores = alone.score(maps, batch["valid"])
            told = (scores, batch["anomalous"], maps, batch["mask"], batch["valid"], batch["has_mask"])
            for label in batch["label"].unique().tolist():
                rows = batch["label"] == label
                self._metrics[level][label].update(*(part[rows] for part in told))

    def compute(self) -> dict[str, list[dict[str, Any]]]:
        """By category, the figures at each level, in the order of log-SNR; empty where there are no levels to tell."""
        found: dict[str, list[dict[str, Any]]] = {}
        for level in sorted(self._metrics):
            for metrics in self._metrics[level]:
                figures = metrics.compute().metrics
                row = {"log_snr": level, **{name: figures[name] for name in TOLD}}
                found.setdefault(metrics.category, []).append(row)
        return found


class Tally:
    """The scores, the figures and those of each scoring level alone, one entry for each category.

    Args:
        categories: in the order of their labels.
        scorer: whose components are judged.
        replicates: bootstrap resamples of the test images.
    """

    def __init__(self, categories: Sequence[str], scorer: Scorer, replicates: int) -> None:
        self.scores: list[dict[int, float]] = [{} for _ in categories]  # per category: row -> score
        self.by_level = LevelMetrics(components_by_level(scorer), categories)
        self._metrics = [DetectionMetrics(name, replicates) for name in categories]

    def set_thresholds(self, thresholds: Sequence[float | None]) -> None:
        """What an image must exceed to count as flagged, by category; None where nothing is promised."""
        for metrics, threshold in zip(self._metrics, thresholds, strict=True):
            metrics.threshold = threshold

    def update(self, batch: Batch, judged: Judgement, anomaly_map: AnomalyMap) -> None:
        """Count in a test batch that was judged with its labels by the calibrated map."""
        self.by_level.update(judged.components, anomaly_map, batch)
        for label in batch["label"].unique().tolist():
            rows = batch["label"] == label
            anomalous, masks, valid, told, index = (
                batch[name][rows] for name in ("anomalous", "mask", "valid", "has_mask", "index")
            )
            scores = judged.scores[rows]
            self._metrics[label].update(scores, anomalous, judged.maps[rows], masks, valid, told)
            self.scores[label].update(zip(index.tolist(), scores.tolist(), strict=True))

    def evaluations(self) -> list[Evaluation]:
        """What the test set said, one entry for each category."""
        return [metrics.compute() for metrics in self._metrics]


Thresholds = list[float | None]  # by category; None where its images are too few for the promise


def conformal_thresholds(
    judged: Iterable[tuple[Judgement, Tensor]], categories: int, rate: float
) -> tuple[Thresholds, Thresholds]:
    """Of scores, and of peaks: at most a share `rate` of normal images has a higher score, or a pixel above.

    From normal images, judged with their labels, and valid (B, S, S), false on padding, where no peak counts.
    """
    scores: list[list[float]] = [[] for _ in range(categories)]
    peaks: list[list[float]] = [[] for _ in range(categories)]
    for found, valid in judged:
        assert found.label is not None
        highest = found.maps.masked_fill(~valid, -torch.inf).flatten(1).amax(1)
        for label, score, peak in zip(found.label.tolist(), found.scores.tolist(), highest.tolist(), strict=True):
            scores[label].append(score)
            peaks[label].append(peak)
    of_scores, of_peaks = ([conformal_threshold(own, rate) for own in values] for values in (scores, peaks))
    return of_scores, of_peaks
