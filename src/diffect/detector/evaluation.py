"""Figures on the test set, by category: of the whole detector, and of each scoring level alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from diffect.data.batches import Batch
from diffect.detector.calibration import Calibration
from diffect.detector.predictor import Predictor
from diffect.metrics.detection import DetectionMetrics
from diffect.metrics.evaluation import Evaluation
from diffect.scorers.base import Scorer

LEVEL_FIGURES = ("image_auroc", "pixel_aupro_30")


def components_by_level(scorer: Scorer) -> dict[float, list[int]]:
    """The components of each log-SNR, in ascending order; empty if there are fewer than two levels."""
    components: dict[float, list[int]] = {}
    for component, origin in enumerate(scorer.origins):
        if origin.log_snr is not None:
            components.setdefault(origin.log_snr, []).append(component)
    return dict(sorted(components.items())) if len(components) > 1 else {}


class Tally:
    """The scores and figures of the test set, and the figures of each level alone, by category.

    Args:
        predictor: that is tested; its map is calibrated before the first batch.
        categories: in the order of their labels.
        replicates: bootstrap resamples of the test images; there are none for single levels.
        levels: whether each level is evaluated alone, where there are several.
    """

    def __init__(self, predictor: Predictor, categories: Sequence[str], replicates: int, levels: bool = True) -> None:
        self.predictor = predictor
        self.scores: list[dict[int, float]] = [{} for _ in categories]  # per category: row -> score
        self._metrics = [DetectionMetrics(name, replicates) for name in categories]
        self._components = components_by_level(predictor.scorer) if levels else {}
        self._of_level = {level: [DetectionMetrics(name, 0) for name in categories] for level in self._components}

    def update(self, batch: Batch) -> None:
        """Score a test batch with its labels, and add it."""
        prediction = self.predictor.predict_batch(batch)
        _update(self._metrics, prediction.score, prediction.map, batch)
        for level, components in self._components.items():
            alone = self.predictor.anomaly_map.alone(components)
            maps = alone.map(prediction.components[:, components], batch["valid"].shape[1:], batch["label"])
            _update(self._of_level[level], alone.score(maps, batch["valid"]), maps, batch)
        rows = zip(batch["label"].tolist(), batch["index"].tolist(), prediction.score.tolist(), strict=True)
        for label, row, score in rows:
            self.scores[label][row] = score

    def evaluations(self, calibrations: Sequence[Calibration] = ()) -> list[Evaluation]:
        """The figures of each category, where scores above its threshold are flagged, or none without calibrations."""
        for metrics, calibration in zip(self._metrics, calibrations, strict=bool(calibrations)):
            metrics.threshold, metrics.no_threshold = calibration.threshold, calibration.shortfall
        return [metrics.compute() for metrics in self._metrics]

    def by_level(self) -> dict[str, list[dict[str, Any]]]:
        """By category, the figures of each level alone in the order of log-SNR; empty with fewer than two levels."""
        rows: dict[str, list[dict[str, Any]]] = {}
        for level, by_category in self._of_level.items():
            for metrics in by_category:
                figures = metrics.compute().metrics
                row = {"log_snr": level, **{name: figures[name] for name in LEVEL_FIGURES}}
                rows.setdefault(metrics.category, []).append(row)
        return rows


def _update(metrics: Sequence[DetectionMetrics], scores: Tensor, maps: Tensor, batch: Mapping[str, Tensor]) -> None:
    """Add a test batch with its scores (B,) and maps (B, *size) to the metrics of each of its categories."""
    arrays = (scores, batch["anomalous"], maps, batch["mask"], batch["valid"], batch["has_mask"])
    for label in batch["label"].unique().tolist():
        rows = batch["label"] == label
        metrics[label].update(*(array[rows] for array in arrays))
