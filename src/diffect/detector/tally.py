"""What the test set says about a detector, counted batch by batch."""

from __future__ import annotations

from collections.abc import Sequence

from diffect.anomaly_map import AnomalyMap
from diffect.data.batches import Batch
from diffect.detector.judgement import Judgement
from diffect.levels import LevelMetrics, places_by_level
from diffect.metrics.detection import DetectionMetrics
from diffect.metrics.evaluation import Evaluation
from diffect.scorers.contract import Scorer


class Tally:
    """The scores, the figures and those of each scoring level alone, one entry for each category.

    Args:
        categories: in the order of their labels.
        scorer: whose components are judged.
        replicates: bootstrap resamples of the test images.
    """

    def __init__(self, categories: Sequence[str], scorer: Scorer, replicates: int) -> None:
        self.scores: list[dict[int, float]] = [{} for _ in categories]  # per category: row -> score
        self.by_level = LevelMetrics(places_by_level(scorer, scorer.components), categories)
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
