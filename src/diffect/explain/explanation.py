"""What an explanation says about one image: numbers that add up, and sentences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffect.detector.detector import ImageResult
from diffect.detector.images import Box, Fitting
from diffect.explain.nearest import Cells, Neighbour, Neighbourhood
from diffect.explain.regions import Region
from diffect.scorers.base import Origin
from diffect.training.colours import ColourScale


@dataclass(frozen=True)
class Explanation:
    """All that the picture and the JSON of an image show.

    `photograph` (., ., 3) has its own size; `image` and `rebuilt` (H, W, 3) are on the canvas. `outline` is the
    threshold of the map, None where there is none; `notes` say why, and what else is missing.
    """

    result: ImageResult
    rate: float | None  # of false positives, promised by both thresholds; None where they promise nothing
    outline: float | None
    photograph: NDArray[np.uint8]
    fitting: Fitting
    region: Region
    grid: tuple[int, int]
    cells: Cells
    image: NDArray[np.uint8]
    origins: Sequence[Origin]
    contributions: Sequence[float]
    rebuilt: NDArray[np.uint8] | None = None
    normal: Neighbourhood | None = None  # None where the training images are gone
    mm_per_pixel: float | None = None  # of the photograph
    notes: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.result.name

    @property
    def score(self) -> float:
        return self.result.score

    @property
    def map(self) -> NDArray[np.float32]:
        """(H, W), on the canvas."""
        return self.result.canvas_map

    @property
    def peak(self) -> float:
        """The highest value of the map."""
        return float(self.map[self.region.peak])

    @property
    def colours(self) -> ColourScale:
        """Of the map; the same for all images of one category."""
        return ColourScale.of(self.outline)

    @property
    def by_scale(self) -> dict[str, float]:
        """What each scale of the pyramid adds to the score."""
        return self._grouped(lambda origin: "all scales" if origin.scale is None else f"scale {origin.scale + 1}")

    @property
    def by_level(self) -> dict[str, float]:
        """What each noise level adds to the score."""
        return self._grouped(lambda origin: "all levels" if origin.log_snr is None else f"log-SNR {origin.log_snr:g}")

    def _grouped(self, key: Callable[[Origin], str]) -> dict[str, float]:
        sums: dict[str, float] = defaultdict(float)
        for origin, value in zip(self.origins, self.contributions, strict=True):
            sums["head" if origin.head else key(origin)] += value
        return dict(sums)

    @property
    def shares(self) -> dict[str, dict[str, float]]:
        """`by_scale` and `by_level` in words for a reader, each only where there are several scales or levels."""
        scales = {one.scale: f"scale {one.scale + 1}" for one in self.origins if one.scale is not None}
        levels = {one.log_snr: f"log-SNR {one.log_snr:g}" for one in self.origins if one.log_snr is not None}
        named = _extremes(scales, "fine", "coarse") | _extremes(levels, "more noise", "less noise")
        both = {"scale": self.by_scale, "noise level": self.by_level}
        several = {title: group for title, group in both.items() if len(group) - ("head" in group) > 1}
        if not several and len(self.by_level) > 1:  # the scorer's single component, and the head's
            several = {"component": self.by_level}
        return {
            title: {named.get(name, name): value for name, value in group.items()} for title, group in several.items()
        }

    @property
    def cell(self) -> tuple[float, float]:
        """Height and width of a cell of the grid, in pixels of the photograph."""
        height, width = self.map.shape
        return height / self.grid[0] * self.fitting.steps[0], width / self.grid[1] * self.fitting.steps[1]

    @property
    def decision(self) -> str:
        """The decision and what it rests on."""
        threshold, p_value = self.result.threshold, self.result.p_value
        certainty = "" if p_value is None else f", p = {three_digits(p_value)}"
        if threshold is None:
            return f"score {three_digits(self.score)}, no threshold{certainty}"
        sign, word = (">", "flagged") if self.result.flagged else ("≤", "passes")
        return f"{word}: score {three_digits(self.score)} {sign} its threshold {three_digits(threshold)}{certainty}"

    @property
    def sentences(self) -> list[str]:
        """What a person should know, the most important first."""
        sentences = []
        if self.result.threshold is not None:
            does = "exceeds" if self.result.flagged else "does not exceed"
            lie = "" if self.rate is None else f"at most {self.rate:.0%} of good parts lie"
            means = f"above which {lie}, as promised for parts like the held-out ones" if lie else "which was given"
            sentences.append(
                f"The score {does} the threshold of scores, {three_digits(self.result.threshold)}, {means}."
            )
        if self.outline is not None:
            sentences.append(f"Pixels above the threshold of maps, {three_digits(self.outline)}, are outlined.")
        quiet = self.outline is not None and not self.region.outlined
        place = "No pixel is outlined; the most suspicious region" if quiet else "The worst region"
        notes = (f"{note[0].upper()}{note[1:]}." for note in self.notes)
        return [*sentences, f"{place} is {self.size}.", *self._largest_shares(), *self._distances(), *notes]

    def _distances(self) -> list[str]:
        """How far the worst patch is from normal ones."""
        if self.normal is None or self.normal.here is None:
            return []
        count, here, near = self.normal.searched, self.normal.here, self.normal.anywhere[0]
        distance = f"Of {count} normal images the nearest at the worst place is {three_digits(here.distance)} away"
        if self.normal.usual is not None:
            distance += f", where they usually lie {three_digits(self.normal.usual)} from each other"
        return [
            f"{distance}; the nearest patch anywhere is {three_digits(near.distance)} away ({near.name}).",
            "Distances are in standard deviations of x0.",
        ]

    def _largest_shares(self) -> list[str]:
        """Which scale and which level add the most to the score, where there are several."""
        if len(self.origins) == 1:
            return ["The score has a single component, so that there are no shares."]
        if self.score <= 0 or not self.shares:
            return []
        largest = [(title, *max(group.items(), key=itemgetter(1))) for title, group in self.shares.items()]
        parts = [f"by {title} {value / self.score:.0%} from {name}" for title, name, value in largest]
        text = ", ".join(parts).replace(" from ", " of the score comes from ", 1)
        return [f"{text[0].upper()}{text[1:]}."]

    @property
    def size(self) -> str:
        """How large the worst region is, in pixels of the photograph, and in millimetres where these are known."""
        width, height = self.region.box(self.fitting)[2:]
        area, mm = self.region.area(self.fitting), self.mm_per_pixel
        text = f"{width:.0f} x {height:.0f} px with an area of {three_digits(area)} px"
        if mm is None:
            return text
        sides = f"{three_digits(width * mm)} x {three_digits(height * mm)} mm"
        return f"{text} ({sides}, {three_digits(area * mm**2)} mm²)"

    def as_json(self) -> dict[str, Any]:
        """All numbers and sentences, lengths in pixels of the photograph and in millimetres."""
        area, box, mm = self.region.area(self.fitting), self.region.box(self.fitting), self.mm_per_pixel
        (down, across), (row, column), normal = self.fitting.steps, self.region.peak, self.normal
        top, left = self.fitting.inner[:2]
        peak = [_rounded((column + 0.5 - left) * across), _rounded((row + 0.5 - top) * down)]
        return {
            "name": self.name,
            "category": self.result.category,
            "score": self.score,
            "threshold": self.result.threshold,
            "flagged": self.result.flagged,
            "p_value": self.result.p_value,
            "promised_false_positive_rate": self.rate,
            "map": {"threshold": self.outline, "peak": self.peak, "peak_px": peak},
            "region": {
                "outlined": self.region.outlined,
                "level": self.region.level,
                "area_px": _rounded(area),
                "box_px": _box(box),
                "area_mm2": None if mm is None else _rounded(area * mm**2),
                "box_mm": None if mm is None else _box([edge * mm for edge in box]),
                "mm_per_px": mm,
            },
            "contributions": {
                "by_component": [
                    {"name": origin.name, "value": value}
                    for origin, value in zip(self.origins, self.contributions, strict=True)
                ],
                "by_scale": self.by_scale,
                "by_noise_level": self.by_level,
            },
            "nearest_normal": normal and [_patch(near) for near in normal.anywhere],
            "normal_at_this_place": normal and _patch(normal.here),
            "usual_distance_at_this_place": normal and normal.usual,
            "normal_images_searched": normal.searched if normal else 0,
            "reconstruction": self.rebuilt is not None,
            "notes": self.notes,
            "sentences": self.sentences,
        }


def three_digits(value: float) -> str:
    """Three digits, and all of a large number's."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _extremes(names: Mapping[Any, str], first: str, last: str) -> dict[str, str]:
    """The names of the lowest and the highest of several scales or levels, with what that means."""
    if len(names) < 2:
        return {}
    low, high = names[min(names)], names[max(names)]
    return {low: f"{low} ({first})", high: f"{high} ({last})"}


def _patch(near: Neighbour | None) -> dict[str, Any] | None:
    return None if near is None else {"image": near.name, "box_px": _box(near.box), "distance": near.distance}


def _box(box: Box | Sequence[float]) -> dict[str, float]:
    return dict(zip(("left", "top", "width", "height"), map(_rounded, box), strict=True))


def _rounded(length: float) -> float:
    """Without the last digits, which are those of binary fractions."""
    return float(f"{length:.9g}")
