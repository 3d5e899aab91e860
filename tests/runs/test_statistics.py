"""Means and paired differences, their intervals and p, against formulas by hand and simulated studies."""

import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

from diffect.reports.mean_notes import no_interval
from diffect.runs.statistics import Estimate, fixed_mean, p_value, paired

Z = NormalDist().inv_cdf(0.975)


def difference(a: Any, b: Any, drawn_a: Any = None, drawn_b: Any = None, categories: Any = None) -> Estimate:
    """The mean of a - b over fixed categories and seeds."""
    return fixed_mean(*paired((a, drawn_a or {}), (b, drawn_b or {})), categories)


def test_the_formula_by_hand() -> None:
    values = {("a", 0): 0.8, ("a", 1): 0.9, ("b", 0): 0.6, ("b", 1): 0.8}
    rng = np.random.default_rng(0)
    drawn = {unit: value + 0.02 * rng.standard_normal(500) for unit, value in values.items()}
    found = fixed_mean(values, drawn)
    means = [0.7, 0.85]
    seed_half = 12.706204736 * np.std(means, ddof=1) / math.sqrt(2)
    mean = np.mean([np.mean([drawn[("a", s)], drawn[("b", s)]], axis=0) for s in (0, 1)], axis=0)
    assert found.value == pytest.approx(0.775)
    assert found.half == pytest.approx(math.hypot(seed_half, Z * np.std(mean, ddof=1)), rel=1e-6)
    assert found.sources == ("seeds", "images")
    assert found.seeds == (0, 1)


def test_shared_resamples_do_not_average_out_over_seeds() -> None:
    shared = np.random.default_rng(1).standard_normal(1000)
    one = fixed_mean({("a", 0): 0.5}, {("a", 0): shared})
    many = fixed_mean({("a", s): 0.5 for s in range(10)}, {("a", s): shared for s in range(10)})
    assert one.half == many.half == pytest.approx(Z * np.std(shared, ddof=1))


def test_one_seed_gives_the_image_part_alone_and_says_so() -> None:
    found = fixed_mean({("a", 3): 0.5}, {("a", 3): [0.4, 0.5, 0.6]})
    assert found.sources == ("images",)
    assert found.half == pytest.approx(Z * 0.1)
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
    assert nulls.half == pytest.approx(Z * np.std([0.4, 0.6], ddof=1))
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


def test_a_difference_is_the_mean_of_paired_differences() -> None:
    rng = np.random.default_rng(0)
    units = [(category, seed) for category in "ab" for seed in range(3)]
    a = {unit: float(rng.random()) for unit in units}
    b = {unit: float(rng.random()) for unit in units}
    drawn_a = {unit: rng.standard_normal(300) for unit in units}
    drawn_b = {unit: rng.standard_normal(300) for unit in units}
    found = difference(a, b, drawn_a, drawn_b)
    by_seed = [np.mean([a[c, s] - b[c, s] for c in "ab"]) for s in range(3)]
    replicated = np.mean([drawn_a[unit] - drawn_b[unit] for unit in units], axis=0)
    seed_half = 4.302652730 * np.std(by_seed, ddof=1) / math.sqrt(3)
    assert found.value == pytest.approx(np.mean(by_seed))
    assert found.half == pytest.approx(math.hypot(seed_half, Z * np.std(replicated, ddof=1)))
    assert found.value == pytest.approx(fixed_mean(a).value - fixed_mean(b).value)
    assert difference(b, a, drawn_b, drawn_a).half == pytest.approx(found.half)


def test_what_seeds_and_images_do_to_both_cancels() -> None:
    rng = np.random.default_rng(1)
    luck = {(c, s): float(rng.standard_normal()) for c in "ab" for s in range(3)}
    images = {unit: rng.standard_normal(100) for unit in luck}
    found = difference({u: v + 0.25 for u, v in luck.items()}, luck, images, images)
    assert found.value == pytest.approx(0.25)
    assert found.half == pytest.approx(0, abs=1e-12)


def test_only_common_cells_enter_a_difference() -> None:
    a = {("x", 0): 0.9, ("x", 1): 0.8, ("y", 0): 0.7, ("y", 1): 0.6}
    b = {("x", 0): 0.5, ("x", 2): 0.1, ("y", 0): 0.5, ("y", 1): 0.5, ("z", 0): 0.0}
    found = difference(a, b)
    assert found.value == pytest.approx((0.4 + 0.2) / 2)  # seed 1 lacks x, and 0.1 of seed 1 on y would shift it
    assert found.seeds == (0,) and found.sources == ()
    assert difference(a, b, categories=("x", "y", "z")).missing == ("z",)
    assert difference({("x", 0): 1.0}, {("x", 1): 1.0}, categories=("x",)).value is None
    assert difference({("x", 0): 1.0}, {("x", 0): None}, categories=("x",)).value is None


def test_fewer_replicates_pair_with_the_first_of_more() -> None:
    one, two = {("a", 0): 0.5}, {("a", 0): 0.4}
    found = difference(one, two, {("a", 0): [0.5, None, 0.7, 0.9]}, {("a", 0): [0.4, 0.4, 0.4]})
    assert found.half == pytest.approx(Z * np.std([0.1, 0.3], ddof=1))
    assert difference(one, two, {("a", 0): [0.5, 0.6]}).half is None


@pytest.mark.parametrize("p", [0.9, 0.05, 0.004, 1e-6])
def test_p_is_the_level_at_which_the_interval_reaches_zero(p: float) -> None:
    by_seed = Estimate(1.0, seed_error=0.3, image_error=0.2, seeds=(0, 1, 2))
    reaching = Estimate(by_seed.half_width(p), 0.3, 0.2, (0, 1, 2))
    assert p_value(reaching) == pytest.approx(p)
    images = Estimate(-0.2 * NormalDist().inv_cdf(p / 2), image_error=0.2, seeds=(0,))
    assert p_value(images) == pytest.approx(p)


def test_p_has_ends() -> None:
    assert p_value(Estimate(None)) is None and p_value(Estimate(0.5)) is None
    assert p_value(Estimate(0.5, 0.0, 0.0, (0, 1))) is None  # nothing varied: nothing is known of the error
    assert p_value(Estimate(0.0, 0.1, 0.1, (0, 1))) == 1
    assert p_value(Estimate(0.5, 1e-9, 0.0, (0, 1, 2))) == pytest.approx(0, abs=1e-9)


def test_ends_stay_within_the_range_of_the_figure() -> None:
    inside = Estimate(0.8, image_error=0.05, seeds=(0,))
    assert inside.ends(0.0, 1.0) == pytest.approx((0.8 - Z * 0.05, 0.8 + Z * 0.05))
    near = Estimate(0.98, image_error=0.02, seeds=(0,))
    found = near.ends(0.0, 1.0)
    reach = Z * 0.02 / (0.98 * 0.02)
    assert found == pytest.approx([1 / (1 + math.exp(-(math.log(49) + end))) for end in (-reach, reach)])
    assert found is not None and 0.85 < found[0] < 0.98 < found[1] < 1
    low, high = Estimate(0.02, image_error=0.02, seeds=(0,)).ends(0.0, 1.0) or (0.0, 0.0)
    assert (1 - high, 1 - low) == pytest.approx(found)
    assert Estimate(-0.98, image_error=0.02, seeds=(0,)).ends(-1.0, 1.0) is not None
    assert Estimate(3.0, image_error=5.0, seeds=(0,)).ends(0.0, math.inf) == pytest.approx((0.0, 3.0 + Z * 5.0))
    assert Estimate(1.0, image_error=0.0, seeds=(0,)).ends(0.0, 1.0) is None


def simulated(rng: np.random.Generator, gap: float, seeds: int) -> tuple[Estimate, Estimate, float]:
    """One study of two detectors, their paired difference, that of the first alone, and the true difference.

    2 categories with 30 defective and 20 normal images; scores are normal, of unit variance: a part that an
    image has for both detectors, one for all seeds of a detector, one for the run; a run's power varies too.
    So the expected AUROC of a detector is Phi(power / sqrt(2 + 0.1^2)).
    """
    good, bad, spread = 20, 30, 0.1
    values: list[dict] = [{}, {}]
    drawn: list[dict] = [{}, {}]
    for category in "ab":
        normal = rng.multinomial(good, [1 / good] * good, size=200) / good
        defective = rng.multinomial(bad, [1 / bad] * bad, size=200) / bad
        image = math.sqrt(0.6) * rng.standard_normal(bad + good)
        for detector in (0, 1):
            own = image + math.sqrt(0.3) * rng.standard_normal(bad + good)
            for seed in range(seeds):
                scores = own + math.sqrt(0.1) * rng.standard_normal(bad + good)
                power = 1.2 + gap * (detector == 0) + spread * rng.standard_normal()
                above = (power + scores[:bad, None] > scores[bad:]).astype(float)
                values[detector][category, seed] = float(above.mean())
                drawn[detector][category, seed] = ((defective @ above) * normal).sum(axis=1)
    auroc = [NormalDist().cdf(power / math.sqrt(2 + spread**2)) for power in (1.2 + gap, 1.2)]
    return difference(*values, *drawn), fixed_mean(values[0], drawn[0]), auroc[0] - auroc[1]


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [2, 5])
@pytest.mark.parametrize("gap", [0.0, 0.4])
def test_intervals_of_simulated_differences_cover_and_are_tight(gap: float, seeds: int) -> None:
    rng = np.random.default_rng(seeds)
    studies = [simulated(rng, gap, seeds) for _ in range(400)]
    covered = np.mean([abs(found.value - truth) <= found.half for found, _, truth in studies])
    clear = np.mean([abs(found.value) > found.half for found, _, _ in studies])
    both, alone = (np.mean([study[which].half for study in studies]) for which in (0, 1))
    noise = 2 * math.sqrt(0.05 * 0.95 / 400)
    assert covered >= 0.93
    if seeds == 2:  # honest is wide: Student's t is 12.7
        assert both > 0.15
    else:
        assert covered <= 0.99 and both < 0.8 * math.sqrt(2) * alone
    if gap == 0:
        assert clear <= 0.05 + noise
    assert all((p_value(found) < 0.05) == (abs(found.value) > found.half) for found, _, _ in studies[:50])


def test_figures_that_are_all_equal_have_no_interval_and_say_so() -> None:
    equal = fixed_mean({("a", 0): 1.0, ("a", 1): 1.0}, {("a", 0): [1.0, 1.0], ("a", 1): [1.0, 1.0]})
    assert equal.constant and equal.half is None and equal.sources == ()
    unknown = fixed_mean({("a", 0): 1.0})
    assert not unknown.constant and unknown.half is None
    (because,) = {no_interval([equal, unknown]), no_interval([equal])}
    assert because == "no interval: seeds and bootstrap replicates all give the same figure, so its error is not known"
    assert no_interval([unknown]).endswith("and the records have no bootstrap replicates")
