"""Tests and effect sizes of paired differences: against scipy, by hand, and at the ends of what few blocks allow."""

import math

import numpy as np
import pytest

from diffect.runs import paired_tests


def drawn(blocks: int, studies: int = 40) -> np.ndarray:
    return np.random.default_rng(blocks).standard_normal((studies, blocks)) + 0.4


@pytest.mark.parametrize("blocks", [2, 5, 9])
def test_the_permutation_test_is_scipys(blocks: int) -> None:
    from scipy.stats import permutation_test

    for row in drawn(blocks, 10):
        oracle = permutation_test((row,), np.sum, permutation_type="samples", n_resamples=np.inf)
        assert paired_tests.sign_flip(row) == pytest.approx(oracle.pvalue)


@pytest.mark.parametrize("blocks", [3, 8, 14])
def test_wilcoxons_test_is_scipys(blocks: int) -> None:
    from scipy.stats import PermutationMethod, wilcoxon

    for row in drawn(blocks, 10):
        assert paired_tests.wilcoxon(row) == pytest.approx(wilcoxon(row, method="exact").pvalue)
    with_ties = np.array([0.1, 0.1, -0.1, 0.2, 0.0, 0.3, 0.3])
    oracle = wilcoxon(with_ties, zero_method="pratt", method=PermutationMethod(n_resamples=np.inf))
    assert paired_tests.wilcoxon(with_ties) == pytest.approx(oracle.pvalue)


def test_many_studies_at_once_are_each_by_itself() -> None:
    rows = drawn(7)
    for test in (paired_tests.sign_flip, paired_tests.wilcoxon):
        assert test(rows) == pytest.approx([float(test(row)) for row in rows])


def test_no_p_is_below_the_smallest_and_full_agreement_reaches_it() -> None:
    for blocks in (1, 2, 3, 6, 12):
        assert paired_tests.sign_flip(np.arange(1.0, blocks + 1)) == paired_tests.smallest_p(blocks)
    assert paired_tests.smallest_p(3) == 0.25
    assert paired_tests.blocks_needed(1, 0.05) == 6 and paired_tests.blocks_needed(18, 0.05) == 10
    assert 18 * paired_tests.smallest_p(10) <= 0.05 < 18 * paired_tests.smallest_p(9)


def test_nothing_differs_gives_one_whatever_the_rounding() -> None:
    assert paired_tests.sign_flip(np.zeros(6)) == paired_tests.wilcoxon(np.zeros(6)) == 1.0
    row = np.array([0.1, 0.2, 0.3])  # 0.1 + 0.2 is not 0.3 in binary, and must count as just as far from zero
    assert paired_tests.sign_flip(np.concatenate([row, -row, [1.0]])) == paired_tests.sign_flip(
        np.concatenate([-row, row, [1.0]])
    )


def test_with_many_blocks_ways_are_drawn_and_the_found_one_is_among_them() -> None:
    assert paired_tests.sign_flip(np.ones(40)) == 2.0**-15
    row = drawn(17, 1)[0] / 3
    ways = np.arange(2**16)[:, None] >> np.arange(17) & 1
    exact = np.mean(np.abs((1 - 2 * ways) @ row) >= abs(row.sum()) - 1e-9)
    assert paired_tests.sign_flip(row) == pytest.approx(exact, abs=0.01)


def test_holm_by_hand() -> None:
    assert paired_tests.holm([0.04, 0.01, 0.03], 3) == pytest.approx([0.06, 0.03, 0.06])
    assert paired_tests.holm([0.04, 0.01], 6) == pytest.approx([0.2, 0.06])
    assert paired_tests.holm([0.9, 0.8], 2) == [1.0, 1.0]
    assert paired_tests.holm([], 0) == []


def test_the_size_of_an_effect() -> None:
    row = [0.1, 0.3, 0.2, 0.4]
    raw = np.mean(row) / np.std(row, ddof=1)
    correction = math.gamma(1.5) / (math.sqrt(1.5) * math.gamma(1.0))
    assert paired_tests.standardised(row) == pytest.approx(correction * raw)
    assert paired_tests.standardised(row) == pytest.approx(
        (1 - 3 / (4 * 3 - 1)) * raw, rel=0.01
    )  # Hedges's approximation
    assert paired_tests.standardised([0.1, 0.2]) is None  # its expectation does not exist
    assert paired_tests.standardised([0.2, 0.2, 0.2]) is None
    assert paired_tests.superiority([0.1, 0.0, -0.2, 0.3]) == 0.625
    assert paired_tests.superiority([]) is None
