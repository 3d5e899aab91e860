"""Where a scorer's components come from, and what each scoring level alone would have given on the test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from diffect.data.batches import Batch
from diffect.detector.anomaly_map import AnomalyMap
from diffect.detector.predictor import Prediction
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

    def update(self, batch: Batch, prediction: Prediction, anomaly_map: AnomalyMap) -> None:
        """Count in a test batch that was judged with its labels by the calibrated map."""
        self.by_level.update(prediction.components, anomaly_map, batch)
        for label in batch["label"].unique().tolist():
            rows = batch["label"] == label
            anomalous, masks, valid, told, index = (
                batch[name][rows] for name in ("anomalous", "mask", "valid", "has_mask", "index")
            )
            scores = prediction.score[rows]
            self._metrics[label].update(scores, anomalous, prediction.map[rows], masks, valid, told)
            self.scores[label].update(zip(index.tolist(), scores.tolist(), strict=True))

    def evaluations(self) -> list[Evaluation]:
        """What the test set said, one entry for each category."""
        return [metrics.compute() for metrics in self._metrics]
