"""Average ranks of groups over blocks, Friedman's test, the critical difference, and how stable the first place is."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
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
    names = list(figures)
    blocks = sorted(set.intersection(*(set(row) for row in figures.values()))) if figures else []
    if not blocks:
        return Ranking(tuple(names), (), 0, reason=f"there are no {unit} that all groups have")
    ranks = _ranks(np.array([[figures[name][block] for name in names] for block in blocks]))
    order = np.argsort(ranks.mean(axis=0), kind="stable")
    means = ranks.mean(axis=0)[order]
    found = Ranking(tuple(names[place] for place in order), tuple(map(float, means)), len(blocks))
    if len(names) < FEWEST_GROUPS or len(blocks) < FEWEST_BLOCKS:
        reason = (
            f"Friedman's test takes at least {FEWEST_GROUPS} groups and {FEWEST_BLOCKS} {unit} that all have:"
            f" there are {len(names)} and {len(blocks)}"
        )
        return Ranking(found.groups, found.ranks, found.blocks, reason=reason)
    statistic, p = friedman(ranks)
    critical = critical_difference(len(names), len(blocks))
    cliques = _cliques(means, critical) if p <= LEVEL else (tuple(range(len(names))),)
    return Ranking(found.groups, found.ranks, found.blocks, statistic, p, critical, cliques)


def friedman(ranks: Floats) -> tuple[float, float]:
    """Friedman's chi2 and the p of Iman and Davenport's F, at least that of full agreement; ranks (blocks, groups)."""
    blocks, groups = ranks.shape
    centred = ranks - (groups + 1) / 2
    spread = float(np.square(centred).sum())
    if spread == 0:  # all tied everywhere
        return 0.0, 1.0
    chi2 = (groups - 1) * blocks**2 * float(np.square(centred.mean(axis=0)).sum()) / spread
    left = blocks * (groups - 1) - chi2
    agreement = math.exp((1 - blocks) * math.lgamma(groups + 1))  # k! orders, the same one in every block
    if left < 1e-9:
        return chi2, agreement
    F = (blocks - 1) * chi2 / left
    return chi2, max(agreement, float(fdtrc(groups - 1, (groups - 1) * (blocks - 1), F)))


def critical_difference(groups: int, blocks: int) -> float:
    """How far two average ranks must lie apart for Nemenyi's test at 0.05."""
    from scipy.stats import studentized_range  # takes half a second to import

    q = float(studentized_range.ppf(1 - LEVEL, groups, np.inf)) / math.sqrt(2)
    return q * math.sqrt(groups * (groups + 1) / (6 * blocks))


def _ranks(figures: Floats) -> Floats:
    """Within each row 1 for the highest; ties share the mean of their ranks."""
    from scipy.stats import rankdata

    ranks: Floats = rankdata(-figures, axis=1)
    return ranks


def _cliques(ranks: Sequence[float] | Floats, critical: float) -> tuple[tuple[int, ...], ...]:
    """The longest stretches of two or more rising `ranks` that lie within less than `critical` of their first."""
    found: list[tuple[int, ...]] = []
    for start in range(len(ranks)):
        members = tuple(i for i in range(start, len(ranks)) if ranks[i] - ranks[start] < critical)
        if len(members) > 1 and not (found and members[-1] == found[-1][-1]):
            found.append(members)
    return tuple(found)


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
    names = tuple(figures)
    seeds = sorted(set.intersection(*(set(row) for row in figures.values()))) if figures else []
    if len(names) < 2 or len(seeds) < 2:
        reason = f"it takes at least two groups and two seeds that all have: there are {len(names)} and {len(seeds)}"
        return Stability(names, (), len(seeds), reason=reason)
    table = np.array([[figures[name][seed] for name in names] for seed in seeds])  # (S, G)
    drawn = np.random.default_rng(0).multinomial(len(seeds), [1 / len(seeds)] * len(seeds), size=RESAMPLES)
    means = drawn @ table / len(seeds)
    first = means >= means.max(axis=1, keepdims=True) - 1e-12
    shares = (first / first.sum(axis=1, keepdims=True)).mean(axis=0)
    return Stability(names, tuple(float(share) for share in shares), len(seeds))
