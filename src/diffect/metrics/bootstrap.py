"""Bootstrap over test images: resamples that depend on the category alone, so that runs pair."""

import hashlib

import numpy as np
from numpy.typing import ArrayLike

from diffect.metrics.curves import Floats


def resample(category: str, strata: ArrayLike, replicates: int) -> Floats:
    """How often each image counts in each resample, (replicates, N), drawn with replacement within strata.

    `strata` (N,) small integers. The draw is seeded by (category, stratum) and nothing else: two runs over
    the same test images in the same order see the same resamples, so replicates may be subtracted, and
    fewer replicates are the first of more.
    """
    stratum = np.asarray(strata)
    weights = np.zeros((replicates, stratum.size))
    seed = int.from_bytes(hashlib.sha256(category.encode()).digest()[:8], "big")
    for value in np.unique(stratum):
        members = np.flatnonzero(stratum == value)
        draws = np.random.default_rng([seed, int(value)]).integers(members.size, size=(replicates, members.size))
        np.add.at(weights, (np.arange(replicates)[:, None], members[draws]), 1)
    return weights


def interval(replicates: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Percentile interval of bootstrap replicates (R,) (Efron & Tibshirani 1993, section 13.3)."""
    low, high = np.quantile(np.asarray(replicates), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
