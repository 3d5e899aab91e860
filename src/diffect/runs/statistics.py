"""Means over categories and seeds, and paired differences of them, with intervals that hold what moves them.

Two estimands. *Fixed*: the mean over the given categories and over training seeds, on the population of test
images that the test set was drawn from; a claim about these categories. *Random*: the mean over the population
of categories that the given ones are a sample of; seeds and test images are part of what varies between them.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtri, stdtrit

Floats = NDArray[np.float64]
Unit = tuple[str, int]  # (category, seed): one cell of a group's grid
Values = Mapping[Unit, float | None]
Cells = tuple[Values, Mapping[Unit, Any]]  # the figures of a group of runs, and their replicates

FIXED, RANDOM = "fixed", "random"
BLOCK = {FIXED: "seed", RANDOM: "category"}
BLOCKS = {FIXED: "seeds", RANDOM: "categories"}
FEWEST_CATEGORIES = 6  # fewer say next to nothing about categories that were not tried
FEWEST_SEEDS = 3  # for the interval of a mean: of two, Student's factor is 12.7
SMALLEST_P = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard errors over seeds, test images and categories, and what all of it was made of.

    An error is None where nothing gives it, or where the estimand holds what it is about as fixed. `seeds` and
    `categories` are those averaged over. `missing` are the categories without a value: where there are any, the
    mean is over other categories than its neighbours' and must not be compared with them.
    """

    value: float | None
    seed_error: float | None = None
    image_error: float | None = None
    seeds: tuple[int, ...] = ()
    missing: tuple[str, ...] = ()
    category_error: float | None = None
    categories: tuple[str, ...] = ()

    @property
    def comparable(self) -> bool:
        return self.value is not None and not self.missing

    def parts(self, alpha: float) -> dict[str, tuple[float, float]]:
        """Of each source of the interval of level 1 - alpha its quantile and its standard error.

        t_{n-1, 1-alpha/2} over n seeds or n categories, z_{1-alpha/2} over test images.
        """
        parts: dict[str, tuple[float, float]] = {}
        # scipy.stats has these quantiles by better names, and takes a second to import.
        if self.seed_error is not None:
            parts["seeds"] = (-float(stdtrit(len(self.seeds) - 1, alpha / 2)), self.seed_error)
        if self.image_error is not None:
            parts["images"] = (-float(ndtri(alpha / 2)), self.image_error)
        if self.category_error is not None:
            parts["categories"] = (-float(stdtrit(len(self.categories) - 1, alpha / 2)), self.category_error)
        return {} if self.constant else parts

    @property
    def constant(self) -> bool:
        """Whether all figures are equal, as where each is 1: then nothing is known about the error."""
        errors = {self.seed_error, self.image_error, self.category_error} - {None}
        return errors == {0.0}

    @property
    def sources(self) -> tuple[str, ...]:
        """Which of "seeds", "images" and "categories" the interval was made from."""
        return tuple(self.parts(0.05))

    @property
    def half(self) -> float | None:
        """The half-width of the 95% interval; None where nothing gives one."""
        return self.half_width(0.05) if self.sources else None

    def ends(self, low: float, high: float) -> tuple[float, float] | None:
        """The ends of the 95% interval of a figure that lies between `low` and `high`; None where nothing gives one.

        value +- half; where that leaves the range, the same on the logit scale (delta method): with the share
        p = (value - low) / (high - low), logit p +- half / ((high - low) p (1 - p)). Cut off where p is 0 or 1, or the
        range has no end.
        """
        if self.value is None or self.half is None:
            return None
        share = (self.value - low) / (high - low)
        below, above = self.value - self.half, self.value + self.half
        if (low <= below and above <= high) or not 0 < share < 1:
            return max(low, below), min(high, above)
        reach = self.half / ((high - low) * share * (1 - share))
        below, above = (float(expit(logit(share) + end)) for end in (-reach, reach))
        return low + (high - low) * below, low + (high - low) * above

    def half_width(self, alpha: float) -> float:
        """Of the interval of level 1 - alpha: the root of the sum of squares of quantile times error."""
        return math.hypot(*(quantile * error for quantile, error in self.parts(alpha).values()))


def fixed_mean(
    values: Values,
    replicates: Mapping[Unit, Any] | None = None,
    categories: Sequence[str] | None = None,
    fewest_seeds: int = 2,
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
    distribution, for which a symmetric interval covers less than 95%. Selecting the best of several groups is
    not corrected for.

    `values` maps (category, seed) to a figure, None where it is undefined; `replicates` maps the same
    units to equally long sequences; `categories` defaults to those with any value; with fewer than `fewest_seeds`
    whole seeds there is no seed part.
    """
    known = _known(values)
    wanted = tuple(categories) if categories is not None else tuple(sorted({unit[0] for unit in known}))
    present = tuple(category for category in wanted if any(unit[0] == category for unit in known))
    missing = tuple(category for category in wanted if category not in present)
    if not present:
        return Estimate(None, missing=missing)
    by_seed = seed_means(known, present)
    used = tuple(by_seed) or tuple(sorted({seed for category, seed in known if category in present}))
    cells = {category: [(category, seed) for seed in used if (category, seed) in known] for category in present}
    value = float(np.mean([np.mean([known[unit] for unit in units]) for units in cells.values()]))
    image_error = _image_error(cells, replicates or {})
    seed_error = _error(by_seed.values()) if len(by_seed) >= fewest_seeds else None
    return Estimate(value, seed_error, image_error, used, missing, categories=present)


def random_mean(values: Values, categories: Sequence[str] | None = None) -> Estimate:
    """The mean of `values` over categories as a sample of their kind, with a 95% interval.

        half = t_{C-1, 0.975} s / sqrt(C)

    s is the standard deviation over the C categories of their means over seeds. Seeds are averaged first: they
    are no further evidence about categories, and tests that count each as a block reject four times as often as
    they may where effects differ by category (experiments/statistics). Seeds and test images vary s too, so they
    need no part of their own, unless a run trains several categories: what a seed does to all of them alike is not
    in s.

    Without an interval below FEWEST_CATEGORIES. Where a few categories gain much and most nothing it covers less
    than 95%: about 90% of 10 categories with exponential gains. A bootstrap, also BCa, covers less than it anyway.
    Of `paired` values it is the mean difference and its interval; arguments as in `fixed_mean`.
    """
    known = _known(values)
    wanted = tuple(categories) if categories is not None else tuple(sorted({unit[0] for unit in known}))
    means = category_means(known, wanted)
    missing = tuple(category for category in wanted if category not in means)
    if not means:
        return Estimate(None, missing=missing)
    seeds = tuple(sorted({seed for category, seed in known if category in means}))
    error = _error(means.values()) if len(means) >= FEWEST_CATEGORIES else None
    value = float(np.mean(list(means.values())))
    return Estimate(value, seeds=seeds, missing=missing, category_error=error, categories=tuple(means))


def check_estimand(estimand: str, categories: Sequence[str]) -> None:
    """Raise ValueError unless `estimand` exists and can be estimated from these `categories`."""
    if estimand not in BLOCKS:
        raise ValueError(f"estimand={estimand} is not known; allowed are {FIXED} and {RANDOM}")
    if estimand == RANDOM and len(categories) < FEWEST_CATEGORIES:
        raise ValueError(
            f"estimand={RANDOM} takes the categories as a sample, of at least {FEWEST_CATEGORIES}; there"
            f" are {len(categories)} ({', '.join(categories)}): use estimand={FIXED}, a claim about these"
        )


def estimate_mean(
    estimand: str, values: Values, replicates: Mapping[Unit, Any], categories: Sequence[str], fewest_seeds: int = 2
) -> Estimate:
    """`fixed_mean` or `random_mean`; of `paired` cells it is the mean difference."""
    if estimand == RANDOM:
        return random_mean(values, categories)
    return fixed_mean(values, replicates, categories, fewest_seeds)


def block_means(estimand: str, values: Values, categories: Sequence[str]) -> dict[Any, float]:
    """What repeats independently: a mean over `categories` for each whole seed, or over seeds for each category."""
    return (category_means if estimand == RANDOM else seed_means)(values, categories)


def paired(first: Cells, second: Cells) -> Cells:
    """The first less the second, in every cell (category, seed) that both have; means of it are paired differences.

    Replicate b of two runs over one category counts the same test images, so what makes an image easy or hard for
    both cancels; so does what a seed does to both, the split above all. That pairing is right whatever the
    correlation, and pays where it is positive. Of several lengths of replicates the common beginning is taken, for
    fewer replicates are the first of more. Give only cells tested on the same images.

    Known limits of the intervals, beside those of `fixed_mean`: what one run alone makes of one image is in both
    parts, so they are too wide where runs of one group disagree about single images; the bootstrap's deviation is too
    small by about 1 / (2 n) of itself for n images of a class; figures that change in no resample, such as those of
    two perfect detectors, have an interval of no width, which no test set warrants.
    """
    a, b = _known(first[0]), _known(second[0])
    units = [unit for unit in a if unit in b]
    drawn = {unit: (first[1].get(unit), second[1].get(unit)) for unit in units}
    replicates = {
        unit: _same_draws(one, other) for unit, (one, other) in drawn.items() if one is not None and other is not None
    }
    return {unit: a[unit] - b[unit] for unit in units}, replicates


def seed_means(values: Values, categories: Sequence[str]) -> dict[int, float]:
    """By seed, the mean over `categories`; only seeds that have every one of them."""
    known = _known(values)
    whole = [seed for seed in sorted({seed for _, seed in known}) if all((c, seed) in known for c in categories)]
    return {seed: float(np.mean([known[category, seed] for category in categories])) for seed in whole}


def category_means(values: Values, categories: Sequence[str]) -> dict[str, float]:
    """By category, the mean over its seeds; only those of `categories` that have any."""
    known = _known(values)
    rows = {category: [value for unit, value in known.items() if unit[0] == category] for category in categories}
    return {category: float(np.mean(row)) for category, row in rows.items() if row}


def p_value(difference: Estimate) -> float | None:
    """Two-sided p of the hypothesis that the difference is 0; None without an interval, at least SMALLEST_P.

    The alpha at which the interval of level 1 - alpha would just reach 0: |value| = half_width(alpha). So
    p < 0.05 says nothing else than that the 95% interval is clear of zero, and shares its assumptions: the
    seeds' differences are normal, and the replicated mean is. With few seeds that leans on normality; a
    sign flip over S seeds, which does not, has no p below 2^(1 - S), 0.25 for three.
    """
    if difference.value is None or not difference.sources:
        return None
    from scipy.optimize import brentq  # takes a third of a second to import

    distance = abs(difference.value)
    if distance == 0:
        return 1.0
    if distance >= difference.half_width(SMALLEST_P):
        return SMALLEST_P
    # half_width falls as alpha grows, and is 0 at alpha = 1.
    lowest = math.log(SMALLEST_P)
    return math.exp(brentq(lambda log_alpha: difference.half_width(math.exp(log_alpha)) - distance, lowest, 0.0))


def _known(values: Values) -> dict[Unit, float]:
    return {unit: value for unit, value in values.items() if value is not None and math.isfinite(value)}


def _same_draws(a: Any, b: Any) -> Floats:
    size = min(len(a), len(b))
    return np.asarray(a[:size], dtype=np.float64) - np.asarray(b[:size], dtype=np.float64)


def _error(means: Collection[float]) -> float | None:
    """The standard error of the mean of `means`; None for fewer than two."""
    return float(np.std(list(means), ddof=1)) / math.sqrt(len(means)) if len(means) > 1 else None


def _image_error(cells: Mapping[str, Sequence[Unit]], replicates: Mapping[Unit, Any]) -> float | None:
    """The standard deviation of the replicated mean; None unless all units have equally long replicates."""
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
    return float(np.std(mean, ddof=1)) if mean.size >= 2 else None
