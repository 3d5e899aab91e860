"""The mean over categories and seeds, and its interval, against the formula done by hand and a simulation."""

import math

import numpy as np
import pytest

from diffect.runs.statistics import fixed_mean


def test_the_formula_by_hand() -> None:
    values = {("a", 0): 0.8, ("a", 1): 0.9, ("b", 0): 0.6, ("b", 1): 0.8}
    rng = np.random.default_rng(0)
    drawn = {unit: value + 0.02 * rng.standard_normal(500) for unit, value in values.items()}
    found = fixed_mean(values, drawn)
    means = [0.7, 0.85]
    seed_half = 12.706204736 * np.std(means, ddof=1) / math.sqrt(2)
    mean = np.mean([np.mean([drawn[("a", s)], drawn[("b", s)]], axis=0) for s in (0, 1)], axis=0)
    assert found.value == pytest.approx(0.775)
    assert found.half == pytest.approx(math.hypot(seed_half, 1.96 * np.std(mean, ddof=1)), rel=1e-6)
    assert found.sources == ("seeds", "images")
    assert found.seeds == (0, 1)


def test_shared_resamples_do_not_average_out_over_seeds() -> None:
    shared = np.random.default_rng(1).standard_normal(1000)
    one = fixed_mean({("a", 0): 0.5}, {("a", 0): shared})
    many = fixed_mean({("a", s): 0.5 for s in range(10)}, {("a", s): shared for s in range(10)})
    assert one.half == many.half == pytest.approx(1.96 * np.std(shared, ddof=1))


def test_one_seed_gives_the_image_part_alone_and_says_so() -> None:
    found = fixed_mean({("a", 3): 0.5}, {("a", 3): [0.4, 0.5, 0.6]})
    assert found.sources == ("images",)
    assert found.half == pytest.approx(1.96 * 0.1)
    assert fixed_mean({("a", 3): 0.5}).half is None


def test_a_seed_without_every_category_does_not_shift_the_mean() -> None:
    values = {("easy", 0): 1.0, ("hard", 0): 0.5, ("easy", 1): 1.0, ("hard", 1): None}
    found = fixed_mean(values)
    assert found.value == pytest.approx(0.75)
    assert found.seeds == (0,)
    assert found.sources == ()


def test_without_any_whole_seed_every_category_still_counts_once() -> None:
    found = fixed_mean({("a", 0): 1.0, ("a", 1): 0.8, ("b", 2): 0.5})
    assert found.value == pytest.approx((0.9 + 0.5) / 2)
    assert found.half is None


def test_a_missing_category_makes_the_mean_incomparable() -> None:
    found = fixed_mean({("a", 0): 1.0}, categories=("a", "b"))
    assert found.value == 1.0
    assert found.missing == ("b",)
    assert not found.comparable
    nothing = fixed_mean({("a", 0): None, ("b", 0): float("nan")}, categories=("a", "b"))
    assert nothing.value is None and not nothing.comparable


def test_undefined_and_uneven_replicates() -> None:
    nulls = fixed_mean({("a", 0): 0.5}, {("a", 0): [0.4, None, 0.6, float("nan")]})
    assert nulls.half == pytest.approx(1.96 * np.std([0.4, 0.6], ddof=1))
    uneven = fixed_mean({("a", 0): 0.5, ("b", 0): 0.5}, {("a", 0): [0.4, 0.6], ("b", 0): [0.4, 0.5, 0.6]})
    assert uneven.half is None
    partly = fixed_mean({("a", 0): 0.5, ("b", 0): 0.5}, {("a", 0): [0.4, 0.6]})
    assert partly.half is None


def test_intervals_cover_at_least_what_they_promise() -> None:
    """3 categories, 4 seeds; the true mean is 0, seeds and test images both vary."""
    rng = np.random.default_rng(5)
    covered = 0
    studies = 1000
    for _ in range(studies):
        image = 0.02 * rng.standard_normal(3)  # the luck of a category's test set, the same for all seeds
        luck = {c: image[i] for i, c in enumerate("abc")}
        values = {(c, s): luck[c] + 0.03 * float(rng.standard_normal()) for c in "abc" for s in range(4)}
        resamples = {c: 0.02 * rng.standard_normal(200) for c in "abc"}
        found = fixed_mean(values, {unit: values[unit] + resamples[unit[0]] for unit in values})
        assert found.value is not None and found.half is not None
        covered += abs(found.value) <= found.half
    assert covered / studies > 0.94
