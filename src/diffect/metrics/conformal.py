"""A threshold with a promised false-positive rate from normal images that were not fitted to: conformal prediction."""

import math

import numpy as np
from numpy.typing import ArrayLike

from diffect.config.description import counted
from diffect.metrics.curves import Floats

CONFORMAL_METRICS = ("conformal_fpr", "conformal_tpr")


def conformal_threshold(calibration_scores: ArrayLike, rate: float = 0.05) -> float | None:
    """The ceil((n + 1)(1 - rate))-th smallest of n normal scores, or None where n is too small for the rate.

    An image is flagged if its score is larger. A normal image exchangeable with the calibration ones is
    then flagged with probability at most `rate`, and above rate - 1 / (n + 1) without ties (Vovk et al.
    2005; Angelopoulos & Bates 2023, equation 1). That is a mean over calibration sets: without ties, of m
    such images BetaBinomial(m, l, n + 1 - l) are flagged, l = floor((n + 1) rate) (the same).
    5% needs n of at least 19. Raises ValueError for a rate outside (0, 1) or scores that are not finite.
    """
    if not 0 < rate < 1:
        raise ValueError(f"The conformal rate is {rate}; it must lie between 0 and 1.")
    scores = np.sort(np.asarray(calibration_scores, dtype=np.float64).ravel())  # (n,)
    if not np.isfinite(scores).all():
        raise ValueError("Calibration scores must be finite, and some are not: the detector is broken.")
    # The slack absorbs the rounding of decimal rates: 0.05 * 20 must allow one miss in spite of its last bit.
    rank = scores.size + 1 - math.floor((scores.size + 1) * rate + 1e-9)
    return float(scores[rank - 1]) if rank <= scores.size else None


def lowest_rate(count: int) -> float:
    """The lowest rate, rounded up to 0.01%, for which `count` scores have a threshold."""
    return math.ceil(1e4 / (count + 1)) / 1e4


def shortfall(count: int, rate: float) -> str:
    """Why `count` scores have no threshold for a rate: "7 calibration images can promise 12.5% or more, not 5%"."""
    if not count:
        return "no normal images are left to calibrate on"
    promise = f"can promise a false-positive rate of {100 * lowest_rate(count):g}% or more, not {100 * rate:g}%"
    return f"{counted(count, 'calibration image')} {promise}"


def flagged_share(scores: ArrayLike, threshold: float, weights: ArrayLike | None = None) -> Floats:
    """Share of images (N,) that score above the threshold, for R weightings (R, N), default one; -> (R,)."""
    flagged = np.asarray(scores, dtype=np.float64) > threshold
    weight = np.ones((1, flagged.size)) if weights is None else np.asarray(weights, dtype=np.float64)
    return np.asarray(weight @ flagged / weight.sum(axis=1))
