"""Ranks over blocks, Friedman's test and Nemenyi's critical difference: against scipy and published tables."""

import numpy as np
import pytest

from diffect.runs.ranks import critical_difference, friedman, ranking, stability


def table(groups: int, blocks: int, gap: float = 0.0, seed: int = 0) -> dict[str, dict[int, float]]:
    """Figures of groups g0, g1, ..., each worth `gap` less than the one before."""
    rng = np.random.default_rng(seed)
    figures = rng.standard_normal((groups, blocks)) - gap * np.arange(groups)[:, None]
    return {f"g{g}": {block: float(figures[g, block]) for block in range(blocks)} for g in range(groups)}


@pytest.mark.parametrize("ties", [False, True])
def test_friedmans_statistic_is_scipys(ties: bool) -> None:
    from scipy.stats import friedmanchisquare

    figures = table(4, 9, 0.3)
    if ties:
        figures = {name: {block: round(value) for block, value in row.items()} for name, row in figures.items()}
    found = ranking(figures, "seeds")
    assert found.statistic == pytest.approx(friedmanchisquare(*(list(row.values()) for row in figures.values()))[0])


def test_its_p_is_iman_and_davenports() -> None:
    from scipy.stats import f

    found = ranking(table(4, 14, 0.4), "seeds")
    assert found.statistic is not None and found.p is not None
    assert found.p == pytest.approx(f.sf(13 * found.statistic / (14 * 3 - found.statistic), 3, 39))


def test_full_agreement_and_none() -> None:
    agreed = np.tile([3.0, 2.0, 1.0], (5, 1))
    assert friedman(agreed) == (10.0, pytest.approx(6.0**-4))
    assert friedman(np.full((5, 3), 2.0)) == (0.0, 1.0)


def test_critical_differences_are_demsars() -> None:
    """Table 5a of Demšar 2006: q at 0.05 for 2 to 10 classifiers."""
    q = (1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164)
    for groups, expected in enumerate(q, 2):
        assert critical_difference(groups, 14) == pytest.approx(
            expected * np.sqrt(groups * (groups + 1) / 84), rel=1e-3
        )


def test_the_best_comes_first_and_cliques_are_the_longest_stretches() -> None:
    figures = {name: {block: -place - 0.001 * block for block in range(5)} for place, name in enumerate("abcdef")}
    found = ranking(dict(reversed(figures.items())), "seeds")
    assert found.groups == tuple("abcdef") and found.ranks == (1, 2, 3, 4, 5, 6)
    assert found.critical_difference == pytest.approx(3.37, abs=0.01)  # so neighbours up to three places apart
    assert found.cliques == ((0, 1, 2, 3), (1, 2, 3, 4), (2, 3, 4, 5))
    alike = ranking(table(4, 10), "seeds")
    assert alike.p is not None and alike.p > 0.05 and alike.cliques == ((0, 1, 2, 3),)


def test_too_little_for_a_test_is_said() -> None:
    few = ranking(table(3, 4), "seeds")
    assert (few.p, few.critical_difference, few.cliques) == (None, None, ())
    assert few.reason == "Friedman's test takes at least 3 groups and 5 seeds that all have: there are 3 and 4"
    assert len(few.ranks) == 3 and few.blocks == 4
    assert "there are 2 and 8" in (ranking(table(2, 8), "categories").reason or "")
    parted = {"a": {0: 1.0}, "b": {1: 1.0}}
    assert ranking(parted, "seeds").reason == "there are no seeds that all groups have"
    assert ranking({}, "seeds").groups == ()


def test_only_blocks_that_all_groups_have_are_ranked() -> None:
    figures = table(3, 7)
    del figures["g1"][3]
    assert ranking(figures, "seeds").blocks == 6


def test_shares_of_the_first_place() -> None:
    clear = stability(table(3, 6, 10.0))
    assert clear.shares == (1.0, 0.0, 0.0) and clear.seeds == 6
    even = stability({"a": {0: 1.0, 1: 0.0}, "b": {0: 0.0, 1: 1.0}})
    assert even.shares == pytest.approx((0.5, 0.5), abs=0.02)  # the tie of both seeds is shared
    close = stability(table(3, 6, 0.2))
    assert sum(close.shares) == pytest.approx(1) and 0.5 < max(close.shares) < 1
    assert close == stability(table(3, 6, 0.2))


def test_shares_are_those_of_all_ways_to_draw_the_seeds() -> None:
    from itertools import product

    figures = table(3, 4, 0.2, seed=3)
    means = np.array(
        [[np.mean([row[seed] for seed in drawn]) for row in figures.values()] for drawn in product(range(4), repeat=4)]
    )
    exact = np.bincount(means.argmax(axis=1), minlength=3) / len(means)
    assert stability(figures).shares == pytest.approx(exact, abs=0.02)


def test_one_seed_or_one_group_says_nothing_about_the_first_place() -> None:
    assert "there are 3 and 1" in (stability(table(3, 1)).reason or "")
    assert "there are 1 and 4" in (stability(table(1, 4)).reason or "")
    assert stability({}).shares == ()
