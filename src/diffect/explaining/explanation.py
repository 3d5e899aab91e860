"""What is said about one image: numbers that add up, in a form that is JSON's own, and one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffect.explaining.nearest import Cells, Neighbour, Neighbourhood
from diffect.explaining.regions import Box, Fitting, Region
from diffect.levels import Origin


@dataclass(frozen=True)
class Explanation:
    """All that picture and JSON of an image show.

    `photograph` (., ., 3) has the original's own size, `rebuilt` (H, W, 3) and `map` (H, W) are on the canvas. The
    thresholds, of the score and of the map (`outline`), are None where there are none; `notes` say why, and what else
    is missing.
    """

    name: str
    category: str | None
    score: float
    threshold: float | None
    rate: float  # of false positives, promised by both thresholds
    outline: float | None
    photograph: NDArray[np.uint8]
    map: NDArray[np.float32]
    fitting: Fitting
    region: Region
    grid: tuple[int, int]
    cells: Cells
    image: NDArray[np.uint8]  # (H, W, 3), on the canvas
    origins: Sequence[Origin]
    contributions: Sequence[float]
    rebuilt: NDArray[np.uint8] | None = None
    normal: Neighbourhood | None = None  # None where the training images are gone
    scale: float | None = None  # mm per pixel of the photograph
    notes: list[str] = field(default_factory=list)

    @property
    def flagged(self) -> bool | None:
        """Whether the score exceeds the threshold; None without one."""
        return None if self.threshold is None else self.score > self.threshold

    @property
    def by_pyramid(self) -> dict[str, float]:
        """What each level of the pyramid adds to the score."""
        return self._grouped(lambda one: "all levels" if one.pyramid is None else f"level {one.pyramid + 1}")

    @property
    def by_noise(self) -> dict[str, float]:
        """What each noise level adds to the score."""
        return self._grouped(lambda one: "all levels" if one.log_snr is None else f"log-SNR {one.log_snr:g}")

    def _grouped(self, key: Callable[[Origin], str]) -> dict[str, float]:
        sums: dict[str, float] = {}
        for origin, value in zip(self.origins, self.contributions, strict=True):
            name = "head" if origin.head else key(origin)
            sums[name] = sums.get(name, 0.0) + value
        return sums

    @property
    def verdict(self) -> str:
        """The decision and what it rests on."""
        if self.threshold is None:
            return f"score {figure(self.score)}, no threshold"
        sign, word = (">", "flagged") if self.flagged else ("≤", "passes")
        return f"{word}: score {figure(self.score)} {sign} {figure(self.threshold)}"

    @property
    def sentences(self) -> list[str]:
        """What a person should know, in order of weight."""
        said = []
        if self.threshold is not None:
            does = "exceeds" if self.flagged else "does not exceed"
            said.append(
                f"The score {does} {figure(self.threshold)}, above which at most {self.rate:.0%} of good parts lie."
            )
        place = "The worst region" if self.region.outlined else "No pixel is outlined; the most suspicious region"
        said.append(f"{place if self.outline is not None else 'The worst region'} is {self.size}.")
        said += self._loudest()
        said += self._apart()
        return [*said, *(f"{note[0].upper()}{note[1:]}." for note in self.notes)]

    def _apart(self) -> list[str]:
        """How far the worst patch is from normal ones."""
        if self.normal is None or self.normal.here is None:
            return []
        count, here, near = self.normal.searched, self.normal.here, self.normal.anywhere[0]
        told = f"Of {count} normal images the nearest at the worst place is {figure(here.distance)} away"
        if self.normal.usual is not None:
            told += f", where they usually lie {figure(self.normal.usual)} from each other"
        return [f"{told}; the nearest patch anywhere is {figure(near.distance)} away ({near.name})."]

    def _loudest(self) -> list[str]:
        """Which level of each kind adds the most to the score, where there are several."""
        parts = []
        for group, kind in ((self.by_pyramid, "pyramid "), (self.by_noise, "")):
            name = max(group, key=lambda key: group[key])
            if len(group) > 1 and self.score > 0:
                parts.append(f"{group[name] / self.score:.0%} of the score come from {kind}{name}")
        return [f"{' and '.join(parts)}."] if parts else []

    @property
    def size(self) -> str:
        """How large the worst region is, in pixels of the photograph, and in millimetres where the scale is known."""
        width, height = self.region.box(self.fitting)[2:]
        area = self.region.area(self.fitting)
        told = f"{width:.0f} x {height:.0f} px with an area of {figure(area)} px"
        if self.scale is not None:
            sides = f"{figure(width * self.scale)} x {figure(height * self.scale)} mm"
            told += f" ({sides}, {figure(area * self.scale**2)} mm²)"
        return told

    def told(self) -> dict[str, Any]:
        """The same as JSON's own types."""
        area = self.region.area(self.fitting)
        box = self.region.box(self.fitting)
        down, across = self.fitting.steps
        row, column = self.region.peak
        mm = self.scale
        return {
            "name": self.name,
            "category": self.category,
            "score": self.score,
            "threshold": self.threshold,
            "flagged": self.flagged,
            "promised_false_positive_rate": self.rate,
            "map": {
                "threshold": self.outline,
                "peak": float(self.map[row, column]),
                "peak_px": [
                    (column + 0.5 - self.fitting.inner[1]) * across,
                    (row + 0.5 - self.fitting.inner[0]) * down,
                ],
            },
            "region": {
                "outlined": self.region.outlined,
                "level": self.region.level,
                "area_px": area,
                "box_px": _box(box),
                "area_mm2": None if mm is None else area * mm**2,
                "box_mm": None if mm is None else _box([edge * mm for edge in box]),
                "mm_per_px": mm,
            },
            "contributions": {
                "by_component": [
                    {"name": origin.name, "value": value}
                    for origin, value in zip(self.origins, self.contributions, strict=True)
                ],
                "by_pyramid_level": self.by_pyramid,
                "by_noise_level": self.by_noise,
            },
            "nearest_normal": None if self.normal is None else [_patch(one) for one in self.normal.anywhere],
            "normal_at_this_place": None
            if self.normal is None or self.normal.here is None
            else _patch(self.normal.here),
            "usual_distance_at_this_place": None if self.normal is None else self.normal.usual,
            "normal_images_searched": 0 if self.normal is None else self.normal.searched,
            "reconstruction": self.rebuilt is not None,
            "notes": self.notes,
            "sentences": self.sentences,
        }


def figure(value: float) -> str:
    """Three digits, and all of a large number's."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _patch(one: Neighbour) -> dict[str, Any]:
    return {"image": one.name, "box_px": _box(one.box), "distance": one.distance}


def _box(box: Box | Sequence[float]) -> dict[str, float]:
    return dict(zip(("left", "top", "width", "height"), map(float, box), strict=True))
