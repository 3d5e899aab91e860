"""Means over categories and seeds, with an interval that holds both sources of error; estimand declared.

The estimand is the mean over the *given* categories (fixed, not a sample of some population of
categories) and over training seeds, on the population of test images that the test set was drawn from.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Unit = tuple[str, int]  # (category, seed): one cell of a group's grid


@dataclass(frozen=True)
class Estimate:
    """A mean, the half-width of its 95% interval, and what both were made of.

    `half` is None where neither seeds nor replicates give an interval; `sources` names those that did, of
    "seeds" and "images". `seeds` are those averaged over. `missing` are the categories without a value: where
    there are any, the mean is over other categories than its neighbours' and must not be compared with them.
    """

    value: float | None
    half: float | None = None
    sources: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        return self.value is not None and not self.missing


def fixed_mean(
    values: Mapping[Unit, float | None],
    replicates: Mapping[Unit, Any] | None = None,
    categories: Sequence[str] | None = None,
) -> Estimate:
    """The mean of `values` over categories (fixed) and seeds, with a 95% interval.

        half = sqrt((t_{S-1, 0.975} s / sqrt(S))^2 + (1.96 se_img)^2)

    s is the standard deviation over the S seeds of the mean over categories, t Student's quantile. se_img
    is the standard deviation of the bootstrap replicates of the same mean. All runs of a category share
    their resamples of test images, so replicate b is averaged over seeds and categories before the
    deviation is taken; averaging each run's deviation would be wrong. With one seed the image part stands
    alone, without replicates the seed part does.

    Only seeds that have every category enter: a seed that lacks a hard category would raise the mean.
    Without any such seed all values are averaged, category by category, and only the image part is given.

    Known limits: a t-interval over 2 seeds is honest and very wide (t = 12.7); adding the squares of the
    two half-widths errs on the wide side when S is small; replicates of a metric close to 1 have a skewed
    distribution, for which a symmetric interval covers less than 95%, and it may reach past 1. Selecting
    the best of several groups is not corrected for.

    `values` maps (category, seed) to a figure, None where it is undefined; `replicates` maps the same
    units to equally long sequences; `categories` defaults to those with any value.
    """
    known = {unit: value for unit, value in values.items() if value is not None and math.isfinite(value)}
    wanted = tuple(categories) if categories is not None else tuple(sorted({unit[0] for unit in known}))
    present = [category for category in wanted if any(unit[0] == category for unit in known)]
    if not present:
        return Estimate(None, missing=wanted)
    missing = tuple(category for category in wanted if category not in present)
    seeds = sorted({seed for _, seed in known})
    whole = [seed for seed in seeds if all((category, seed) in known for category in present)]
    used = whole or seeds
    cells = {category: [(category, seed) for seed in used if (category, seed) in known] for category in present}
    value = float(np.mean([np.mean([known[unit] for unit in units]) for units in cells.values()]))
    seed_half = _seed_half([float(np.mean([known[(c, seed)] for c in present])) for seed in whole])
    image_half = _image_half(cells, replicates or {})
    parts = {"seeds": seed_half, "images": image_half}
    sources = tuple(name for name, part in parts.items() if part is not None)
    half = math.hypot(seed_half or 0.0, image_half or 0.0) if sources else None
    return Estimate(value, half, sources, tuple(used), missing)


def _seed_half(means: list[float]) -> float | None:
    count = len(means)
    if count < 2:
        return None
    quantile = float(stdtrit(count - 1, 0.975))  # scipy.stats takes a second to import
    return quantile * float(np.std(means, ddof=1)) / math.sqrt(count)


def _image_half(cells: Mapping[str, Sequence[Unit]], replicates: Mapping[Unit, Any]) -> float | None:
    """1.96 standard deviations of the replicated mean; None unless all units have equally long replicates."""
    arrays: list[Floats] = []
    for units in cells.values():
        rows = [np.asarray(replicates.get(unit, ()), dtype=np.float64) for unit in units]
        if len({row.shape for row in rows}) != 1 or rows[0].ndim != 1 or rows[0].size < 2:
            return None
        arrays.append(np.mean(rows, axis=0))
    if len({array.size for array in arrays}) != 1:
        return None
    mean = np.mean(arrays, axis=0)
    mean = mean[np.isfinite(mean)]  # a resample without one of the two classes has no AUROC
    return 1.96 * float(np.std(mean, ddof=1)) if mean.size >= 2 else None
