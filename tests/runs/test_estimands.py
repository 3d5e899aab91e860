"""The random estimand: categories are the blocks and seeds are averaged first; too few categories are refused."""

import math
import re

import numpy as np
import pytest

from diffect.runs import statistics
from diffect.runs.coverage import coverage_of_differences, coverage_of_means
from diffect.runs.statistics import FIXED, RANDOM, p_value, paired, random_mean

NAMES = tuple("abcdefgh")


def figures(seed: int, names: tuple[str, ...] = NAMES, seeds: int = 3) -> dict[tuple[str, int], float | None]:
    rng = np.random.default_rng(seed)
    return {(name, s): float(rng.standard_normal()) for name in names for s in range(seeds)}


@pytest.mark.slow
def test_the_interval_is_scipys_over_means_of_seeds() -> None:
    from scipy.stats import ttest_1samp

    values = figures(0)
    means = [np.mean([values[name, seed] for seed in range(3)]) for name in NAMES]
    found = random_mean(values)
    oracle = ttest_1samp(means, 0.0)
    interval = oracle.confidence_interval(0.95)
    assert found.value == pytest.approx(np.mean(means))
    assert found.half == pytest.approx((interval.high - interval.low) / 2)
    assert found.sources == ("categories",) and found.categories == NAMES and found.seeds == (0, 1, 2)
    assert p_value(found) == pytest.approx(oracle.pvalue)


def test_a_difference_is_paired_by_cell_before_seeds_are_averaged() -> None:
    from scipy.stats import ttest_rel

    a, b = figures(0), figures(1)
    a["a", 2] = None  # then seed 2 of b counts for nothing in category a
    values, _ = paired((a, {}), (b, {}))
    found = statistics.estimate_mean(RANDOM, values, {}, NAMES)
    rows = [[np.mean([v[n, s] for s in range(2 if n == "a" else 3)]) for n in NAMES] for v in (a, b)]
    oracle = ttest_rel(*rows)
    assert p_value(found) == pytest.approx(oracle.pvalue)
    blocks = statistics.block_means(RANDOM, values, NAMES)
    assert list(blocks) == list(NAMES) and np.mean(list(blocks.values())) == pytest.approx(found.value)


def test_below_six_categories_there_is_no_interval_and_a_study_is_refused() -> None:
    five = random_mean(figures(0, NAMES[:5]))
    assert five.value is not None and five.half is None and p_value(five) is None
    with pytest.raises(ValueError, match=r"at least 6; there are 5 \(a, b, c, d, e\): use estimand=fixed"):
        statistics.check_estimand(RANDOM, NAMES[:5])
    statistics.check_estimand(RANDOM, NAMES[:6])
    statistics.check_estimand(FIXED, NAMES[:1])
    with pytest.raises(ValueError, match="estimand=mixed is not known; allowed are fixed and random"):
        statistics.check_estimand("mixed", NAMES)


def test_what_is_missing_is_named_and_what_is_not_finite_is_missing() -> None:
    values = figures(0) | {("h", seed): float("nan") for seed in range(3)}
    found = random_mean(values, NAMES)
    assert found.missing == ("h",) and not found.comparable and found.categories == NAMES[:7]
    assert random_mean({("a", 0): None}, ("a",)).value is None


def test_blocks_of_fixed_categories_are_whole_seeds() -> None:
    values = {("a", 0): 1.0, ("b", 0): 3.0, ("a", 1): 1.0, ("b", 1): None, ("a", 2): math.inf, ("b", 2): 1.0}
    assert statistics.block_means(FIXED, values, ("a", "b")) == {0: 2.0}


def test_the_achieved_coverage_of_small_studies_is_at_hand() -> None:
    for seeds in range(2, 10):
        (said,) = coverage_of_differences(FIXED, seeds)
        held = re.search(rf"in 10,000 simulated studies with {seeds} seeds: .* difference ([\d.]+)% held it", said)
        assert held is not None and 94 < float(held[1]) < 99.5
    (said,) = coverage_of_differences(RANDOM, 6)
    rejected = re.search(r"and ([\d.]+)% of uncorrected p", said)
    assert rejected is not None and float(rejected[1]) <= 5
    (said,) = coverage_of_means(RANDOM, 6)
    assert "10,000 simulated studies with 6 categories: of 95% intervals of a mean" in said
    assert coverage_of_means(FIXED, 10) == coverage_of_differences(RANDOM, 5) == []
