"""Cuts follow the rule, the seed and the category; no split shares a group with another, and none stays empty."""

from itertools import chain, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from diffect.data.splits import Cut


@pytest.mark.parametrize("count", [2, 7, 8, 9, 10, 19, 60, 76, 209])
def test_splits_follow_the_rule(count: int) -> None:
    parts = Cut(seed=3).positions(range(count), "part")
    assert sorted(chain(*parts.values())) == list(range(count))
    if count < 8:
        assert len(parts["fit"]) == count
    else:
        assert len(parts["selection"]) == max(2, round(0.1 * count))
        assert len(parts["calibration"]) == max(round(0.1 * count), min(20, count // 4))


def test_splits_follow_seed_and_category_and_shots_nest() -> None:
    first = Cut().positions(range(50), "a")
    assert Cut().positions(range(50), "a") == first
    assert Cut(seed=1).positions(range(50), "a") != first != Cut().positions(range(50), "b")
    assert Cut(shots=4).positions(range(50), "a")["selection"] == []
    held = [set(chain(*Cut(shots=k).positions(range(50), "a").values())) for k in (1, 2, 4, 8, 16, 50)]
    assert [len(h) for h in held] == [1, 2, 4, 8, 16, 50]
    assert all(a < b for a, b in pairwise(held))


def test_few_shots_are_of_many_groups() -> None:
    blocks = [position // 10 for position in range(1000)]
    kept = list(chain(*Cut(shots=8).positions(blocks, "a").values()))
    assert len({blocks[position] for position in kept}) >= 7


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 12), min_size=8, max_size=80), st.integers(0, 3), st.none() | st.integers(1, 8))
def test_no_split_shares_a_group_with_another(groups: list[int], seed: int, shots: int | None) -> None:
    cut = Cut(seed, shots)
    try:
        parts = cut.positions(groups, "part")
    except ValueError as error:
        assert "never share a group, need 3" in str(error) and (shots or len(set(groups))) in (1, 2, 8)
        return
    positions = [position for part in parts.values() for position in part]
    assert len(set(positions)) == len(positions) == (shots or len(groups)) and parts["fit"]
    by_split = [{groups[position] for position in part} for part in parts.values()]
    assert sum(map(len, by_split)) == len(set().union(*by_split))
    assert (shots or 8) < 8 or (parts["selection"] and parts["calibration"])


def test_one_large_group_is_learned_and_not_held_out() -> None:
    groups = [0] * 60 + [1 + position // 5 for position in range(40)]
    for seed in range(5):
        parts = Cut(seed).positions(groups, "part")
        assert parts["fit"][:60] == list(range(60))
        assert len(parts["calibration"]) == 20 and len(parts["selection"]) == 10


def test_groups_that_leave_a_split_empty_are_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match=r"20 normal .* of part form 2 groups.* need 3: set data\.groups=none"):
        Cut().positions([0, 1] * 10, "part")
    parts = Cut(calibration=0, calibration_min=0).positions([0, 1] * 10, "part")
    assert {name: len(held) for name, held in parts.items()} == {"fit": 10, "selection": 10, "calibration": 0}
