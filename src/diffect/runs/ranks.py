"""Average ranks of groups over blocks, Friedman's test, the critical difference, and how stable the first place is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import fdtrc

Floats = NDArray[np.float64]

LEVEL = 0.05
FEWEST_BLOCKS, FEWEST_GROUPS = 5, 3
RESAMPLES = 10_000


@dataclass(frozen=True)
class Ranking:
    """The groups by their average rank over the blocks, the best (rank 1) first, and which cannot be told apart.

    `statistic` is Friedman's chi2, `p` that of Iman and Davenport's F of it. `cliques` are the longest stretches of
    `groups`, as their places, whose ranks differ by less than `critical_difference`. Where there are too few
    blocks or groups for the test, these are None and empty, and `reason` says why.
    """

    groups: tuple[str, ...]
    ranks: tuple[float, ...]
    blocks: int
    statistic: float | None = None
    p: float | None = None
    critical_difference: float | None = None
    cliques: tuple[tuple[int, ...], ...] = ()
    reason: str | None = None


def ranking(figures: Mapping[str, Mapping[Any, float]], unit: str) -> Ranking:
    """The ranking of the groups by `figures`[group][block], higher is better, over the blocks that all of them have.

    `unit` names the blocks, as "seeds". Friedman's chi2 with average ranks R_j of k groups over N blocks, ties
    allowed for, and the F of it (Iman and Davenport 1980, Commun. Stat. A 9), whose p is nearer what it should be:

        chi2 = (k - 1) N^2 sum_j (R_j - (k+1)/2)^2 / sum_ij (r_ij - (k+1)/2)^2
        F = (N - 1) chi2 / (N (k - 1) - chi2)  with k - 1 and (k - 1) (N - 1) degrees of freedom

    The critical difference is Nemenyi's, q sqrt(k (k + 1) / (6 N)) (Demšar 2006, JMLR 7, section 3.2.2). Where
    Friedman's test does not reject at 0.05 all groups are one clique, since no pair may then be compared.
    """
    table = pd.DataFrame(figures).dropna().sort_index()  # (N, k)
    blocks, groups = table.shape
    if table.empty:
        return Ranking(tuple(figures), (), 0, reason=f"there are no {unit} that all groups have")
    means = table.rank(axis=1, ascending=False).mean().sort_values(kind="stable")
    plain = Ranking(tuple(means.index), tuple(means.tolist()), blocks)
    if groups < FEWEST_GROUPS or blocks < FEWEST_BLOCKS:
        reason = (
            f"Friedman's test takes at least {FEWEST_GROUPS} groups and {FEWEST_BLOCKS} {unit} that all have:"
            f" there are {groups} and {blocks}"
        )
        return replace(plain, reason=reason)
    statistic, p = friedman(table.to_numpy())
    critical = critical_difference(groups, blocks)
    cliques = _cliques(plain.ranks, critical) if p <= LEVEL else (tuple(range(groups)),)
    return replace(plain, statistic=statistic, p=p, critical_difference=critical, cliques=cliques)


def friedman(figures: Floats) -> tuple[float, float]:
    """Friedman's chi2, and the p of Iman and Davenport's F, at least that of full agreement; (blocks, groups)."""
    from scipy.stats import friedmanchisquare  # takes half a second to import

    blocks, groups = figures.shape
    if np.all(figures == figures[:, :1]):  # all tied everywhere
        return 0.0, 1.0
    chi2 = float(friedmanchisquare(*figures.T).statistic)
    left = blocks * (groups - 1) - chi2
    agreement = math.exp((1 - blocks) * math.lgamma(groups + 1))  # k! orders, the same one in every block
    if left < 1e-9:
        return chi2, agreement
    F = (blocks - 1) * chi2 / left
    return chi2, max(agreement, float(fdtrc(groups - 1, (groups - 1) * (blocks - 1), F)))


@cache
def critical_difference(groups: int, blocks: int) -> float:
    """How far two average ranks must lie apart for Nemenyi's test at 0.05."""
    from scipy.stats import studentized_range

    q = float(studentized_range.ppf(1 - LEVEL, groups, np.inf)) / math.sqrt(2)
    return q * math.sqrt(groups * (groups + 1) / (6 * blocks))


def _cliques(ranks: Sequence[float], critical: float) -> tuple[tuple[int, ...], ...]:
    """The longest stretches of two or more rising `ranks` that lie within less than `critical` of their first."""
    cliques: list[tuple[int, ...]] = []
    for start in range(len(ranks)):
        members = tuple(i for i in range(start, len(ranks)) if ranks[i] - ranks[start] < critical)
        if len(members) > 1 and not (cliques and members[-1] == cliques[-1][-1]):
            cliques.append(members)
    return tuple(cliques)


@dataclass(frozen=True)
class Stability:
    """The share of resamples of the seeds in which each of `groups` is first; without any, `reason` says why."""

    groups: tuple[str, ...]
    shares: tuple[float, ...]
    seeds: int
    resamples: int = RESAMPLES
    reason: str | None = None


def stability(figures: Mapping[str, Mapping[int, float]]) -> Stability:
    """How often each group is first when the seeds are drawn again, with replacement, the same for all groups.

    `figures`[group][seed] is a mean over categories, higher is better; only seeds that all groups have enter,
    and groups that tie for the first place share it. A bootstrap of S seeds shows (S - 1) / S of the variance
    that new seeds would have: of few seeds it looks firmer than it is.
    """
    table = pd.DataFrame(figures).dropna().sort_index()  # (S, G)
    seeds, groups = table.shape
    if groups < 2 or seeds < 2:
        reason = f"it takes at least two groups and two seeds that all have: there are {groups} and {seeds}"
        return Stability(tuple(figures), (), seeds, reason=reason)
    drawn = np.random.default_rng(0).multinomial(seeds, [1 / seeds] * seeds, size=RESAMPLES)
    means = drawn @ table.to_numpy() / seeds
    first = means >= means.max(axis=1, keepdims=True) - 1e-12
    shares = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return Stability(tuple(figures), tuple(shares.tolist()), seeds)
