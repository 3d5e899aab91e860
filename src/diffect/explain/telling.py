"""An explanation in JSON's own types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffect.explain.explanation import Explanation
from diffect.explain.nearest import Neighbour
from diffect.explain.regions import Box


def told(one: Explanation) -> dict[str, Any]:
    """All numbers and sentences of an explanation, lengths in pixels of the photograph and in millimetres."""
    area = one.region.area(one.fitting)
    box = one.region.box(one.fitting)
    down, across = one.fitting.steps
    row, column = one.region.peak
    mm = one.scale
    return {
        "name": one.name,
        "category": one.category,
        "score": one.score,
        "threshold": one.threshold,
        "flagged": one.flagged,
        "promised_false_positive_rate": one.rate,
        "map": {
            "threshold": one.outline,
            "peak": float(one.map[row, column]),
            "peak_px": [
                _neat((column + 0.5 - one.fitting.inner[1]) * across),
                _neat((row + 0.5 - one.fitting.inner[0]) * down),
            ],
        },
        "region": {
            "outlined": one.region.outlined,
            "level": one.region.level,
            "area_px": _neat(area),
            "box_px": _box(box),
            "area_mm2": None if mm is None else _neat(area * mm**2),
            "box_mm": None if mm is None else _box([edge * mm for edge in box]),
            "mm_per_px": mm,
        },
        "contributions": {
            "by_component": [
                {"name": origin.name, "value": value}
                for origin, value in zip(one.origins, one.contributions, strict=True)
            ],
            "by_pyramid_level": one.by_pyramid,
            "by_noise_level": one.by_noise,
        },
        "nearest_normal": None if one.normal is None else [_patch(near) for near in one.normal.anywhere],
        "normal_at_this_place": None if one.normal is None or one.normal.here is None else _patch(one.normal.here),
        "usual_distance_at_this_place": None if one.normal is None else one.normal.usual,
        "normal_images_searched": 0 if one.normal is None else one.normal.searched,
        "reconstruction": one.rebuilt is not None,
        "notes": one.notes,
        "sentences": one.sentences,
    }


def _patch(one: Neighbour) -> dict[str, Any]:
    return {"image": one.name, "box_px": _box(one.box), "distance": one.distance}


def _box(box: Box | Sequence[float]) -> dict[str, float]:
    return dict(zip(("left", "top", "width", "height"), map(_neat, box), strict=True))


def _neat(length: float) -> float:
    """Without the last digits, which are those of binary fractions."""
    return float(f"{length:.9g}")
