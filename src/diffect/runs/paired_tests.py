"""Tests and effect sizes of paired differences, one from each block; the correction for many of them.

A block is what repeats independently: a seed where the categories are fixed, a category where they are a sample.
"""

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

Floats = NDArray[np.float64]

EXACT = 16  # blocks up to which every way of flipping signs is counted
_DRAWN = 2**15


def sign_flip(differences: Any) -> Any:
    """Two-sided p of a permutation test: differences (..., B) of B blocks to p (...).

    Exact where the two groups are exchangeable in each block: each difference was as likely to have the other
    sign, so p is the share of all 2^B ways to flip signs whose sum lies as far from zero as the one found (Fisher
    1935, The Design of Experiments, section 21). Above EXACT blocks of 2^15 ways drawn once by a fixed seed and the
    one found itself, which keeps the size at most what is promised (Phipson and Smyth 2010, SAGMB 9).
    """
    rows = np.asarray(differences, dtype=np.float64)
    sums = np.abs(rows @ _signs(rows.shape[-1]).T)
    observed = np.abs(rows.sum(axis=-1))[..., None]
    slack = 1e-9 * np.abs(rows).sum(axis=-1)[..., None]  # equal sums in another order differ by rounding
    return np.mean(sums >= observed - slack, axis=-1)


def wilcoxon(differences: Any) -> Any:
    """Two-sided p of Wilcoxon's signed-rank test: differences (..., B) to p (...), exact, ties and zeros included.

    The sign flips of the ranks of |difference|, of which ties share the mean; a difference of zero keeps its rank
    for the others and counts for neither side (Pratt 1959, JASA 54).
    """
    from scipy.stats import rankdata  # takes half a second to import

    rows = np.asarray(differences, dtype=np.float64)
    return sign_flip(np.sign(rows) * rankdata(np.abs(rows), axis=-1))


def smallest_p(blocks: int) -> float:
    """The smallest p that either test can give: 2^(1-B), where all B differences have one sign."""
    return min(1.0, 2.0 ** (1 - blocks))


def blocks_needed(family: int, level: float) -> int:
    """From how many blocks on a test can be passed at `level` after Holm's correction for `family` of them."""
    return math.ceil(1 - math.log2(level / max(1, family)))


def holm(p_values: Sequence[float], family: int) -> list[float]:
    """Holm's (1979) adjusted p, in the order given, for tests that belong to a `family` of as many or more.

        adjusted_(i) = max over j <= i of min(1, (family - j + 1) p_(j)),  p_(1) <= p_(2) <= ...

    Tests of the family that are not given count as p = 1, which can only raise the adjusted ones: at most
    a share alpha of families has any true hypothesis with an adjusted p of at most alpha.
    """
    order = np.argsort(p_values, kind="stable")
    rising = np.maximum.accumulate((family - np.arange(len(order))) * np.take(p_values, order))
    return list(np.minimum(1.0, rising)[np.argsort(order)].tolist())


def standardised(differences: Sequence[float]) -> float | None:
    """Cohen's d_z, mean over standard deviation, with Hedges's exact correction; None for fewer than three blocks.

        g_z = J mean / s,  J = Gamma(m/2) / (sqrt(m/2) Gamma((m-1)/2)),  m = B - 1

    Source: Hedges 1981, J. Educ. Stat. 6, equation 6e, on paired differences (Lakens 2013, Front. Psychol. 4).
    """
    rows = np.asarray(differences, dtype=np.float64)
    freedom = len(rows) - 1
    spread = float(np.std(rows, ddof=1)) if freedom > 1 else 0.0
    if spread <= 1e-12 * float(np.abs(rows).max(initial=0.0)):
        return None
    correction = math.exp(gammaln(freedom / 2) - gammaln((freedom - 1) / 2)) / math.sqrt(freedom / 2)
    return correction * float(np.mean(rows)) / spread


def superiority(differences: Sequence[float]) -> float | None:
    """The share of blocks in which the difference is positive, ties counted half; None without a block."""
    rows = np.asarray(differences, dtype=np.float64)
    return float(np.mean((np.sign(rows) + 1) / 2)) if rows.size else None


@cache
def _signs(blocks: int) -> Floats:
    """Ways to flip the signs of `blocks` differences; the first is none, which stands for all in the other half.

    Flipping all signs changes no distance from zero, so half of the ways stand for all.
    """
    if blocks <= EXACT:
        ways = np.arange(2 ** max(0, blocks - 1))[:, None] >> np.arange(blocks) & 1
    else:
        drawn = np.random.default_rng(0).integers(0, 2, (_DRAWN - 1, blocks))
        ways = np.concatenate([np.zeros((1, blocks), dtype=drawn.dtype), drawn])
    return 1.0 - 2.0 * ways.astype(np.float64)
