"""The conformal threshold is the promised order statistic, and keeps its promise over resplits."""

import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from diffect.metrics.conformal import conformal_threshold, flagged_share, lowest_rate, shortfall


@pytest.mark.parametrize("rate", ["0.01", "0.05", "0.1", "0.2", "0.29", "0.5"])
def test_it_is_the_order_statistic_for_every_n(rate: str) -> None:
    rng = np.random.default_rng(0)
    for n in range(1, 400):
        scores = rng.permutation(n) - 100.0  # the k-th smallest is k - 101
        rank = math.ceil((n + 1) * (1 - Fraction(rate)))
        expected = rank - 101.0 if rank <= n else None
        assert conformal_threshold(scores, float(rate)) == expected, n


def test_five_percent_needs_nineteen_images() -> None:
    assert conformal_threshold([]) is None
    assert conformal_threshold(np.arange(18)) is None
    assert conformal_threshold(np.arange(19)) == 18


@pytest.mark.parametrize(("n", "rate"), [(19, 0.05), (20, 0.05), (38, 0.05), (39, 0.05), (25, 0.2)])
def test_normal_images_are_flagged_at_the_promised_rate(n: int, rate: float) -> None:
    """rate - 1 / (n + 1) < E[FPR] <= rate without ties, whatever the distribution; 4 standard errors."""
    rng = np.random.default_rng(n)
    pool = rng.standard_cauchy(n + 80)
    fprs = []
    for _ in range(3000):
        split = rng.permutation(pool)
        fprs.append(flagged_share(split[n:], conformal_threshold(split[:n], rate))[0])
    slack = 4 * np.std(fprs) / math.sqrt(len(fprs))
    assert rate - 1 / (n + 1) - slack < np.mean(fprs) <= rate + slack


def goodness(counts: list[int], law: object) -> float:
    """p of the chi-square test that `counts` are drawn from `law`; neighbouring values until 5 are expected."""
    cells: list[list[float]] = [[0.0, 0.0]]
    for value in range(max(counts) + 1):
        cells[-1][0] += counts.count(value)
        cells[-1][1] += len(counts) * law.pmf(value)
        if cells[-1][1] >= 5:
            cells.append([0.0, 0.0])
    rest = cells.pop()
    cells[-1][0] += rest[0]
    cells[-1][1] += rest[1] + len(counts) * law.sf(max(counts))
    observed, expected = zip(*cells, strict=True)
    return float(stats.chisquare(observed, expected).pvalue)


@pytest.mark.parametrize(("n", "rate", "fresh"), [(39, 0.05, 60), (60, 0.05, 40), (50, 0.1, 100)])
def test_false_alarms_over_resplits_follow_the_beta_binomial_law(n: int, rate: float, fresh: int) -> None:
    """500 resplits of exchangeable scores: the mean FPR keeps the promise, the counts fit their exact law."""
    rng = np.random.default_rng([n, fresh])
    pool = rng.standard_cauchy(n + fresh)
    counts = []
    for _ in range(500):
        split = rng.permutation(pool)
        counts.append(round(fresh * flagged_share(split[n:], conformal_threshold(split[:n], rate))[0]))
    fpr = np.array(counts) / fresh
    assert fpr.mean() <= rate + 2 * fpr.std(ddof=1) / math.sqrt(len(fpr))
    allowed = math.floor((n + 1) * Fraction(str(rate)))
    assert goodness(counts, stats.betabinom(fresh, allowed, n + 1 - allowed)) > 0.01
    assert goodness(counts, stats.binom(fresh, rate)) < 1e-6  # a threshold is one draw, shared by all images


def test_ties_only_make_it_more_careful() -> None:
    rng = np.random.default_rng(1)
    fprs = []
    for _ in range(3000):
        split = rng.integers(0, 6, size=120)
        fprs.append(flagged_share(split[39:], conformal_threshold(split[:39]))[0])
    assert np.mean(fprs) <= 0.05 + 4 * np.std(fprs) / math.sqrt(len(fprs))
    assert flagged_share(np.ones(7), conformal_threshold(np.ones(50)))[0] == 0


@pytest.mark.parametrize("rate", [0, 1, -0.1, 5, math.nan])
def test_a_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        conformal_threshold(np.arange(50), rate)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_scores_must_be_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        conformal_threshold([*range(50), bad])


@pytest.mark.parametrize(
    ("count", "rate", "said"),
    [
        (7, 0.05, "7 calibration images can promise a false-positive rate of 12.5% or more, not 5%"),
        (1, 0.05, "1 calibration image can promise a false-positive rate of 50% or more, not 5%"),
        (18, 0.05, "18 calibration images can promise a false-positive rate of 5.27% or more, not 5%"),
        (0, 0.05, "no normal images are left to calibrate on"),
    ],
)
def test_too_few_images_say_which_rate_they_can_promise(count: int, rate: float, said: str) -> None:
    assert conformal_threshold(range(count), rate) is None
    assert shortfall(count, rate) == said
    if count:
        assert conformal_threshold(range(count), lowest_rate(count)) == count - 1


def distances(fitted: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Mahalanobis distances (M,) of points (M, D) under the Gaussian of others (N, D), as PaDiM has them."""
    off = scored - fitted.mean(0)
    return np.einsum("md,de,me->m", off, np.linalg.inv(np.cov(fitted.T)), off)


def test_out_of_fold_scores_keep_the_promise_and_vary_less_than_those_of_a_split() -> None:
    """58 Gaussian points, 10 dimensions: 40 fitted to, in 5 folds, 10 for calibration, and 8 that scores are scaled on.

    The mean false-positive rate of out-of-fold scores is the promised one, where that of the points that were fitted to
    is more than three times that; and the rate of one data set is nearer to the promise than with the split alone.
    """
    rng, rate, rates = np.random.default_rng(3), 0.1, []
    for _ in range(400):
        fit, held, selection, fresh = (rng.standard_normal((count, 10)) for count in (40, 10, 8, 1000))
        fold_of, out = np.arange(40) % 5, []
        for fold in range(5):
            rest = fit[fold_of != fold]
            out.append(distances(rest, fit[fold_of == fold]) / distances(rest, selection).mean())
        split, new, seen = (distances(fit, points) / distances(fit, selection).mean() for points in (held, fresh, fit))
        found = [conformal_threshold(scores, rate) for scores in (np.concatenate([*out, split]), split, seen)]
        rates.append([flagged_share(new, threshold)[0] for threshold in found])
    crossed, alone, naive = np.array(rates).T
    assert 0.8 * rate < crossed.mean() <= rate + 2 * crossed.std() / math.sqrt(len(crossed))
    assert alone.mean() <= rate + 2 * alone.std() / math.sqrt(len(alone)) and naive.mean() > 3 * rate
    assert crossed.std() < 0.6 * alone.std()
