"""What is said about one image: numbers that add up, and sentences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffect.explain.colours import ColourScale
from diffect.explain.nearest import Cells, Neighbourhood
from diffect.explain.regions import Fitting, Region
from diffect.scorers.base import Origin


@dataclass(frozen=True)
class Explanation:
    """All that picture and JSON of an image show; `telling.told` makes the JSON.

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
    by_patch: bool = True  # whether the denoiser holds normal patches, so that the score is made of nearest ones
    notes: list[str] = field(default_factory=list)

    @property
    def colours(self) -> ColourScale:
        """Of the map; images of one category all have the same."""
        return ColourScale.of(self.outline)

    @property
    def flagged(self) -> bool | None:
        """Whether the score exceeds the threshold; None without one."""
        return None if self.threshold is None else self.score > self.threshold

    @property
    def by_pyramid(self) -> dict[str, float]:
        """What each level of the pyramid adds to the score."""
        return self._grouped(lambda one: "all levels" if one.scale is None else f"level {one.scale + 1}")

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
    def groups(self) -> dict[str, dict[str, float]]:
        """The same for a person, by what parts are; only where there are several to tell apart."""
        levels = {one.scale: f"level {one.scale + 1}" for one in self.origins if one.scale is not None}
        noises = {one.log_snr: f"log-SNR {one.log_snr:g}" for one in self.origins if one.log_snr is not None}
        said = _extremes(levels, "fine", "coarse") | _extremes(noises, "more noise", "less noise")
        found = {"pyramid level": self.by_pyramid, "noise level": self.by_noise}
        several = {title: group for title, group in found.items() if len(group) - ("head" in group) > 1}
        if not several and len(self.by_noise) > 1:  # the scorer's one part, and the head's
            several = {"component": self.by_noise}
        return {
            title: {said.get(name, name): value for name, value in group.items()} for title, group in several.items()
        }

    @property
    def cell(self) -> tuple[float, float]:
        """How high and wide a cell of the grid is, in pixels of the photograph."""
        height, width = self.map.shape
        return height / self.grid[0] * self.fitting.steps[0], width / self.grid[1] * self.fitting.steps[1]

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
                f"The score {does} {figure(self.threshold)}, above which at most {self.rate:.0%} of good parts lie, as "
                "promised for parts like the held-out ones."
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
        said = [f"{told}; the nearest patch anywhere is {figure(near.distance)} away ({near.name})."]
        said.append("Distances are in standard deviations of x0.")
        if not self.by_patch:
            said.append("This score is not made of distances to patches: the nearest ones illustrate it.")
        return said

    def _loudest(self) -> list[str]:
        """Which level of each kind adds the most to the score, where there are several."""
        if len(self.origins) == 1:
            return ["The score has one component, and so no shares to tell."]
        parts: list[str] = []
        for title, group in self.groups.items():
            name = max(group, key=lambda key: group[key])
            if self.score > 0:
                comes = "" if parts else "of the score comes "
                parts.append(f"by {title} {group[name] / self.score:.0%} {comes}from {name}")
        told = ", ".join(parts)
        return [f"{told[0].upper()}{told[1:]}."] if parts else []

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


def figure(value: float) -> str:
    """Three digits, and all of a large number's."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _extremes(names: Mapping[Any, str], first: str, last: str) -> dict[str, str]:
    """What a person reads instead of the names of the lowest and the highest of several levels."""
    if len(names) < 2:
        return {}
    low, high = names[min(names)], names[max(names)]
    return {low: f"{low} ({first})", high: f"{high} ({last})"}
