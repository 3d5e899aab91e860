"""The rule that chooses a setting from figures by category and candidate, and what the choice cost in hindsight."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffect.runs.record import Choice, Figure, Number, Part

Floats = NDArray[np.float64]
Figures = Mapping[str, Any]  # of one candidate on one category

OBJECTIVE = ("image_auroc", "pixel_aupro_30")
RULE = (
    "one setting for all categories: the mean over categories of (image AUROC + AUPRO 30%) / 2 is measured on the "
    "selection normals and their synthetic defects; of the candidates within one standard error of the highest, the "
    "first is taken, where the config as given comes first and the others follow as listed; the standard error is "
    "that of the paired difference, over resamples of the selection images with their copies; each image is scored "
    "with scorer and scale fitted on other selection images"
)


class Hindsight(Part):
    """The test objectives of the best candidate, of the chosen one and of the config as given, and the regrets."""

    best: int
    test_best: Number
    test_chosen: Number
    test_given: Number
    regret_chosen: Number
    regret_given: Number
    rank_correlation: Figure


def objective(figures: Figures) -> float | None:
    """(image AUROC + AUPRO 30%) / 2; None where either is undefined."""
    values = [figures[name] for name in OBJECTIVE]
    return None if None in values else sum(values) / len(values)


def choose(evidence: Mapping[str, Sequence[Figures]]) -> Choice:
    """The choice by RULE; each candidate has `replicates` (R,) of the objective."""
    objectives = np.array([[objective(one) for one in figures] for figures in evidence.values()], np.float64)
    replicates = np.array([[one["replicates"] for one in figures] for figures in evidence.values()], np.float64)
    means, resampled = objectives.mean(0), replicates.mean(0)  # (candidates,), (candidates, R)
    best = int(means.argmax())
    errors = (resampled[best] - resampled).std(axis=1, ddof=1)
    tied = np.flatnonzero(means[best] - means <= errors)
    return Choice(
        candidate=int(tied[0]), best=best, tied=tied.tolist(), objective=means.tolist(), errors=errors.tolist()
    )


def hindsight(
    evidence: Mapping[str, Sequence[Figures]], test: Mapping[str, Sequence[Figures]], chosen: int
) -> dict[str, Hindsight]:
    """By category, and for the mean over them: the best on the test set, the regrets, and the rank correlation.

    The regret of a setting is how far its test objective lies below that of the best candidate. Categories without
    test figures are left out.
    """
    table: dict[str, tuple[Floats, Floats]] = {}
    for category, figures in test.items():
        values = [objective(one) for one in figures]
        if None not in values:
            pseudo = np.array([objective(one) for one in evidence[category]], np.float64)
            table[category] = pseudo, np.array(values, np.float64)
    if table:
        table["mean"] = (
            np.mean([pseudo for pseudo, _ in table.values()], axis=0),
            np.mean([values for _, values in table.values()], axis=0),
        )
    return {
        name: Hindsight(
            best=int(values.argmax()),
            test_best=float(values.max()),
            test_chosen=float(values[chosen]),
            test_given=float(values[0]),
            regret_chosen=float(values.max() - values[chosen]),
            regret_given=float(values.max() - values[0]),
            rank_correlation=rank_correlation(pseudo, values),
        )
        for name, (pseudo, values) in table.items()
    }


def rank_correlation(a: Floats, b: Floats) -> float | None:
    """Spearman's rank correlation; None where all values of either are equal."""
    from scipy.stats import spearmanr  # takes half a second to import

    if min(np.ptp(a), np.ptp(b)) == 0:
        return None
    return float(spearmanr(a, b).statistic)
