"""The rule of a choice, and what it cost in hindsight; on plain figures, by category and candidate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Figures = Mapping[str, Any]  # of one candidate on one category

OBJECTIVE = ("image_auroc", "pixel_aupro_30")
RULE = (
    "one setting for all categories: of those whose mean over categories of (image AUROC + AUPRO 30%) / 2, on the "
    "selection normals and their synthetic defects, lies within one standard error of the highest, the first; the "
    "config as given is the first of all, the others follow as listed; the standard error is that of the paired "
    "difference, over resamples of the selection images with their copies; each image is judged with scorer and scale "
    "fitted on other selection images"
)


def objective(figures: Figures) -> float | None:
    """(image AUROC + AUPRO 30%) / 2; None where either is undefined."""
    values = [figures[name] for name in OBJECTIVE]
    return None if None in values else sum(values) / len(values)


def choose(evidence: Mapping[str, Sequence[Figures]]) -> dict[str, Any]:
    """The choice by RULE from figures by category and candidate; each has `replicates` (R,) of the objective."""
    table = np.array([[objective(one) for one in held] for held in evidence.values()], np.float64)
    drawn = np.array([[one["replicates"] for one in held] for held in evidence.values()], np.float64)
    means, resampled = table.mean(0), drawn.mean(0)  # (candidates,), (candidates, R)
    best = int(means.argmax())
    errors = (resampled[best] - resampled).std(axis=1, ddof=1)
    tied = np.flatnonzero(means[best] - means <= errors)
    return {
        "candidate": int(tied[0]),
        "best": best,
        "tied": tied.tolist(),
        "objective": means.tolist(),
        "errors": errors.tolist(),
    }


def hindsight(
    evidence: Mapping[str, Sequence[Figures]], test: Mapping[str, Sequence[Figures]], chosen: int
) -> dict[str, Any]:
    """By category, and for the mean over them: the best on the test set, the regrets, and the rank correlation.

    A regret is how far the test objective of a setting lies below the best candidate's. Categories without test
    figures are left out.
    """
    table: dict[str, tuple[Floats, Floats]] = {}
    for category, held in test.items():
        values = [objective(one) for one in held]
        if None not in values:
            pseudo = np.array([objective(one) for one in evidence[category]], np.float64)
            table[category] = pseudo, np.array(values, np.float64)
    if table:
        table["mean"] = (
            np.mean([pseudo for pseudo, _ in table.values()], axis=0),
            np.mean([values for _, values in table.values()], axis=0),
        )
    return {
        name: {
            "best": int(values.argmax()),
            "test_best": float(values.max()),
            "test_chosen": float(values[chosen]),
            "test_given": float(values[0]),
            "regret_chosen": float(values.max() - values[chosen]),
            "regret_given": float(values.max() - values[0]),
            "rank_correlation": rank_correlation(pseudo, values),
        }
        for name, (pseudo, values) in table.items()
    }


def rank_correlation(a: Floats, b: Floats) -> float | None:
    """Spearman's: Pearson's of the ranks, ties sharing theirs; None where all of either are equal."""
    ranks = [np.searchsorted(np.sort(x), x, "left") + np.searchsorted(np.sort(x), x, "right") for x in (a, b)]
    if min(np.ptp(rank) for rank in ranks) == 0:
        return None
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
