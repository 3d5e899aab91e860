"""How the normal training images of a category are cut into fit, selection and calibration."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np

from diffect.data.sample import Sample

Split = Literal["fit", "selection", "calibration"]  # of normal images

RULE = (
    "per category the normal training images are permuted by (seed, category name) and cut: fewer than 8 "
    "all go to fit; otherwise selection = max(2, round({selection} n)), calibration = "
    "max(round({calibration} n), min({calibration_min}, n // 4)), the rest is fit; images of one group, such as copies "
    "of each other, stay together, the largest groups in fit; the test images are read once, at the end"
)


def cut(
    groups: Sequence[object],
    category: str,
    seed: int = 0,
    shots: int | None = None,
    selection: float = 0.1,
    calibration: float = 0.1,
    calibration_min: int = 20,
) -> dict[str, list[int]]:
    """Positions of samples, given by their groups, cut into "fit", "selection" and "calibration", each sorted.

    See `RULE`; a group is counted whole, so that splits can be larger than the rule says. `shots` = k keeps the first k
    of the permutation and cuts those by the same rule.
    """
    count = len(groups)
    if shots is not None and not 1 <= shots <= count:
        raise ValueError(
            f"data.shots={shots} is not allowed: category {category} has {count} normal training images, "
            f"so it must be from 1 to {count}"
        )
    if count == 1 and shots is None:
        raise ValueError(
            f"category {category} has one normal training image only; at least 2 are needed "
            f"(data.shots=1 says that one-shot is meant)"
        )
    members: dict[object, list[int]] = {}
    for position, group in enumerate(groups):
        members.setdefault(group, []).append(position)
    by_group = list(members.values())
    permuted = [by_group[place] for place in generator(seed, category).permutation(len(by_group))]
    kept = set([position for group in permuted for position in group][:shots])
    rest = [[position for position in group if position in kept] for group in permuted]
    rest = sorted(filter(None, rest), key=len, reverse=True)  # keeps the order of groups of one size
    n = len(kept)
    held_out = n >= 8
    calibrated = _take(rest, held_out * max(round(calibration * n), min(calibration_min, n // 4)), leave=2)
    selected = _take(rest, held_out * max(2, round(selection * n)), leave=1)
    fit = [position for group in rest for position in group]
    return {"fit": sorted(fit), "selection": sorted(selected), "calibration": sorted(calibrated)}


def _take(groups: list[list[int]], wanted: int, leave: int) -> list[int]:
    """Remove the last groups until they hold so many positions, but leave some groups."""
    taken: list[int] = []
    while len(taken) < wanted and len(groups) > leave:
        taken += groups.pop()
    return taken


def cut_samples(
    samples: Sequence[Sequence[Sample]],
    seed: int,
    shots: int | None,
    selection: float,
    calibration: float,
    calibration_min: int,
) -> dict[str, list[tuple[int, int]]]:
    """(category, row) of each split, for the samples of each category; see `cut`. The test samples are a split too."""
    rows: dict[str, list[tuple[int, int]]] = {"fit": [], "selection": [], "calibration": [], "test": []}
    for label, of_category in enumerate(samples):
        normal = [row for row, sample in enumerate(of_category) if sample.split == "train"]
        category = of_category[0].category
        groups = [of_category[row].group for row in normal]
        pieces = cut(groups, category, seed, shots, selection, calibration, calibration_min)
        for name, positions in pieces.items():
            rows[name] += [(label, normal[position]) for position in positions]
        rows["test"] += [(label, row) for row, sample in enumerate(of_category) if sample.split == "test"]
    return rows


def generator(seed: int, category: str, *purposes: str) -> np.random.Generator:
    """A generator for each category and purpose: adding a category changes no draws of another."""
    salts = [int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little") for name in (category, *purposes)]
    return np.random.Generator(np.random.PCG64([seed, *salts]))
