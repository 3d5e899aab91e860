"""What a study's figures are about, its categories (fixed) or categories of their kind (random), as one choice."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffect.runs.statistics import (
    FEWEST_CATEGORIES,
    Estimate,
    Unit,
    category_means,
    fixed_difference,
    fixed_mean,
    paired,
    random_mean,
    seed_means,
)

FIXED, RANDOM = "fixed", "random"
BLOCK = {FIXED: "seed", RANDOM: "category"}
BLOCKS = {FIXED: "seeds", RANDOM: "categories"}

Figures = Mapping[Unit, float | None]


def check(estimand: str, categories: Sequence[str]) -> None:
    """Raise ValueError unless `estimand` exists and can be estimated from these `categories`."""
    if estimand not in BLOCKS:
        raise ValueError(f"estimand={estimand} is not known; allowed are {FIXED} and {RANDOM}")
    if estimand == RANDOM and len(categories) < FEWEST_CATEGORIES:
        raise ValueError(
            f"estimand={RANDOM} takes the categories as a sample, of at least {FEWEST_CATEGORIES}; there"
            f" are {len(categories)} ({', '.join(categories)}): use estimand={FIXED}, a claim about these"
        )


def mean(estimand: str, values: Figures, replicates: Mapping[Unit, Any], categories: Sequence[str]) -> Estimate:
    """`fixed_mean` or `random_mean`."""
    return random_mean(values, categories) if estimand == RANDOM else fixed_mean(values, replicates, categories)


def difference(
    estimand: str,
    values: tuple[Figures, Figures],
    replicates: tuple[Mapping[Unit, Any], Mapping[Unit, Any]],
    categories: Sequence[str],
) -> Estimate:
    """The mean of the first values less the second, paired by cell: `fixed_difference`, or `random_mean` of them."""
    if estimand == RANDOM:
        return random_mean(paired(*values), categories)
    return fixed_difference(*values, *replicates, categories)


def blocks(estimand: str, values: Figures, categories: Sequence[str]) -> dict[Any, float]:
    """What repeats independently: a mean over `categories` for each whole seed, or over seeds for each category."""
    return (category_means if estimand == RANDOM else seed_means)(values, categories)
