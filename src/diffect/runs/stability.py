"""How firmly the first place stands: how often it would be another group's with other seeds."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000


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
