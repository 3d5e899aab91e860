"""How the normal training images of a category are cut into fit, selection and calibration."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
from annotated_types import Interval

from diffect.data.sample import Sample

Split = Literal["fit", "selection", "calibration"]  # of normal images
SplitShare = Annotated[float, Interval(ge=0, le=0.4)]  # of the normal images
LEAST = 8  # normal images; with fewer, none is held out


@dataclass(frozen=True)
class Cut:
    """Which normal training images go to fit, selection and calibration; see `describe`.

    Args:
        seed: of the permutation, together with the category's name.
        shots: how many images of each category are kept, the first of the permutation; None for all.
        selection, calibration: shares of the images.
        calibration_min: how many images calibration gets even where its share is smaller.
    """

    seed: int = 0
    shots: int | None = None
    selection: float = 0.1
    calibration: float = 0.1
    calibration_min: int = 20

    def describe(self) -> str:
        """The rule in words."""
        return (
            "per category the normal training images are permuted by (seed, category name) and cut: fewer than "
            f"{LEAST} all go to fit; otherwise selection = max(2, round({self.selection} n)), calibration = "
            f"max(round({self.calibration} n), min({self.calibration_min}, n // 4)), the rest is fit; images of one "
            "group stay together, so that a split can be larger than this; the test images are read once, at the end"
        )

    def positions(self, groups: Sequence[object], category: str) -> dict[str, list[int]]:
        """Positions of a category's samples, given by their groups, in "fit", "selection" and "calibration".

        ValueError where there are fewer images than `shots`, a single one, or so few groups that a split stays empty.
        """
        count = len(groups)
        if self.shots is not None and not 1 <= self.shots <= count:
            raise ValueError(
                f"data.shots={self.shots} is not allowed: category {category} has {count} normal training images, "
                f"so it must be from 1 to {count}"
            )
        if count == 1 and self.shots is None:
            raise ValueError(
                f"category {category} has one normal training image only; at least 2 are needed "
                f"(data.shots=1 says that one-shot is meant)"
            )
        members: dict[object, list[int]] = {}
        for position in generator(self.seed, category).permutation(count)[: self.shots].tolist():
            members.setdefault(groups[position], []).append(position)
        rest = list(members.values())
        n = sum(map(len, rest))
        calibration = max(round(self.calibration * n), min(self.calibration_min, n // 4)) if n >= LEAST else 0
        selection = max(2, round(self.selection * n)) if n >= LEAST else 0
        needed = 1 + (selection > 0) + (calibration > 0)
        if len(rest) < needed:
            raise ValueError(
                f"the {n} normal training images of {category} form {len(rest)} groups, and fit, selection and "
                f"calibration, which never share a group, need {needed}: set data.groups=none, which makes each image "
                "its own group, or name smaller groups"
            )
        calibrated = _take(rest, calibration, leave=needed - 1)
        selected = _take(rest, selection, leave=1)
        fit = [position for group in rest for position in group]
        return {"fit": sorted(fit), "selection": sorted(selected), "calibration": sorted(calibrated)}

    def added(self, samples: Sequence[Sample]) -> dict[str, list[int]]:
        """Positions of added normal samples of a category in the splits; fewer than `LEAST` all go to fit."""
        if len(samples) < LEAST:
            return {"fit": list(range(len(samples)))}
        groups = [sample.group for sample in samples]
        return replace(self, shots=None).positions(groups, f"{samples[0].category}, added")

    def rows(self, samples: Sequence[Sequence[Sample]]) -> dict[str, list[tuple[int, int]]]:
        """(category, row) of each split, for the samples of each category; the test samples are a split too."""
        rows: dict[str, list[tuple[int, int]]] = {"fit": [], "selection": [], "calibration": [], "test": []}
        for label, of_category in enumerate(samples):
            normal = [row for row, sample in enumerate(of_category) if sample.split == "train"]
            pieces = self.positions([of_category[row].group for row in normal], of_category[0].category)
            for name, positions in pieces.items():
                rows[name] += [(label, normal[position]) for position in positions]
            rows["test"] += [(label, row) for row, sample in enumerate(of_category) if sample.split == "test"]
        return rows


def _take(groups: list[list[int]], wanted: int, leave: int) -> list[int]:
    """Remove groups until they hold `wanted` positions, but leave some: the last that fits, or else the smallest."""
    taken: list[int] = []
    while len(taken) < wanted and len(groups) > leave:
        fitting = [place for place, group in enumerate(groups) if len(group) <= wanted - len(taken)]
        place = fitting[-1] if fitting else min(range(len(groups)), key=lambda place: len(groups[place]))
        taken += groups.pop(place)
    return taken


def generator(seed: int, category: str, *purposes: str) -> np.random.Generator:
    """A generator for each category and purpose: adding a category changes no draws of another."""
    salts = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") for name in (category, *purposes)]
    return np.random.Generator(np.random.PCG64([seed, *salts]))
