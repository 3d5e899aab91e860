"""What each scoring level alone would have given: figures of the test set by log-SNR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from diffect.anomaly_map import AnomalyMap
from diffect.metrics.detection import DetectionMetrics

TOLD = ("image_auroc", "pixel_aupro_30")


def places_by_level(scorer: Any, components: int) -> dict[float, list[int]]:
    """Which of a scorer's components stem from which log-SNR; empty where they stem from none, or all from one.

    A scorer with `levels` yields as many components at each, those of a level side by side.
    """
    levels: Sequence[float] = getattr(scorer, "levels", ())
    if len(levels) < 2 or components % len(levels):
        return {}
    each = components // len(levels)
    return {level: list(range(place * each, (place + 1) * each)) for place, level in enumerate(levels)}


class LevelMetrics:
    """Gathers, level by level, the scores and maps that its components alone make; says nothing about intervals."""

    def __init__(self, places: Mapping[float, list[int]], categories: Sequence[str]) -> None:
        self._places = places
        self._metrics = {level: [DetectionMetrics(name, replicates=0) for name in categories] for level in places}

    def update(self, components: Tensor, anomaly_map: AnomalyMap, batch: dict[str, Tensor]) -> None:
        """Count in a test batch with its components (B, K, h, w); `anomaly_map` is calibrated for all of them."""
        for level, places in self._places.items():
            alone = anomaly_map.alone(places)
            maps = alone.map(components[:, places], batch["valid"].shape[-2:])
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
