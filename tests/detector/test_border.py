"""The border correction lowers what normal samples err more towards the border, along each axis, and nothing else.

Inside, and where the border errs less, a component stays as it is; one that takes both signs is lowered by differences.
"""

import pytest
import torch
from torch import Tensor

from diffect.detector.anomaly_map import AnomalyMap, BorderCorrection

GAINS = torch.tensor([3.0, 1.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5])  # of eight rows: loud above, quiet below


def errors(count: int = 400, columns: int = 9) -> Tensor:
    """Two components, of which rows differ as GAINS say: (count, 2, 8, columns)."""
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(count, 2, len(GAINS), columns, generator=generator)
    return drawn * GAINS[:, None] * torch.tensor([1.0, 10.0])[:, None, None]


def fitted(found: Tensor, width: int = 2) -> BorderCorrection:
    border = BorderCorrection(found.shape[1], width)
    border.fit([found])
    return border


def axes(border: BorderCorrection, *grid: int) -> tuple[Tensor, ...]:
    """The profile (K, side) of each axis."""
    return border.profiles[0].split(list(grid), dim=-1)


def test_loud_rows_are_lowered_by_their_gain_and_quiet_ones_left_alone() -> None:
    rows, columns = axes(fitted(errors()), 8, 9)
    expected = GAINS.clamp(min=1).expand(2, -1)
    assert torch.allclose(rows, expected, rtol=0.05)
    exactly = [2, 3, 4, 5, 7]  # inside, and where it is quiet
    assert torch.equal(rows[:, exactly], torch.ones(2, 5))
    assert (columns - 1).abs().max() < 0.05


@pytest.mark.parametrize("others", [(), (9,), (6, 5)])
def test_each_axis_of_any_number_has_its_profile(others: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    for axis in range(1 + len(others)):
        found = torch.rand(300, 2, *others, len(GAINS), generator=generator) * GAINS
        border = fitted(found.movedim(-1, 2 + axis))
        grid = [*others[:axis], len(GAINS), *others[axis:]]
        for number, profile in enumerate(axes(border, *grid)):
            expected = GAINS.clamp(min=1) if number == axis else torch.ones(grid[number])
            assert torch.allclose(profile, expected.expand(2, -1), rtol=0.1), (axis, number)
        lowered = border(found.movedim(-1, 2 + axis)).mean((0, 1)).movedim(axis, -1)
        assert lowered.flatten(0, -2).mean(0)[:7].std() < 0.05 if others else lowered[:7].std() < 0.05


def test_rows_and_columns_multiply_in_the_corners() -> None:
    found = errors()
    found[..., -1] *= 2
    border = fitted(found)
    corner = border(torch.ones(1, 2, 8, 9))[0, :, 0, -1]
    assert torch.allclose(1 / corner, torch.tensor([6.0, 6.0]), rtol=0.1)


def test_where_a_component_takes_both_signs_differences_are_taken_off() -> None:
    found = errors()
    shifted = found.clone()
    shifted[:, 1] -= 20
    border, plain = fitted(shifted), fitted(found)
    offsets, ratios = axes(border, 8, 9)[0], axes(plain, 8, 9)[0]
    assert torch.equal(offsets[0], ratios[0])  # the other component keeps its ratios
    inside = found[:, 1, 2:6, 2:7].mean()
    assert torch.allclose(offsets[1], (ratios[1] - 1) * inside, atol=1e-3)
    lowered = border(shifted)[:, 1, :, 2:7].mean((0, 2))
    assert torch.allclose(lowered[:7], (inside - 20).expand(7), atol=0.2)
    corner = border(torch.zeros(1, 2, 8, 9))[0, 1, 0, 0]
    columns = axes(border, 8, 9)[1][1]
    assert torch.allclose(corner, -(offsets[1, 0] + columns[0]))


def test_width_is_less_on_a_grid_without_two_rows_inside() -> None:
    rows, columns = axes(fitted(errors(columns=3), width=6), 8, 3)
    assert torch.equal(rows[:, 3:5], torch.ones(2, 2))  # of eight rows three on each side at most
    assert torch.equal(columns, torch.ones(2, 3))


@pytest.mark.parametrize("width", [0, 2])
def test_without_width_and_without_fit_nothing_changes(width: int) -> None:
    found = errors()
    assert torch.equal(BorderCorrection(2, width)(found), found)
    assert torch.equal(fitted(found, 0)(found), found)
    assert torch.equal(fitted(found - 1, 0)(found - 1), found - 1)


def test_the_order_of_samples_does_not_matter_and_a_dead_component_makes_no_infinities() -> None:
    found = errors()
    assert torch.allclose(fitted(found).profiles, fitted(found.flip(0)).profiles, rtol=1e-6)
    found[:, 0] = 0
    assert torch.isfinite(fitted(found)(found)).all()


def test_the_border_is_corrected_before_components_are_made_comparable() -> None:
    found = errors()
    corrected = AnomalyMap(2, blur=0.0, border=2)
    corrected.calibrate((part, None) for part in found.split(7))
    mapped = corrected.map(found, found.shape[2:])
    assert mapped.mean().item() == pytest.approx(1, abs=1e-5)
    assert mapped[:, 0].mean().item() == pytest.approx(mapped[:, 4].mean().item(), rel=0.05)


def test_a_width_below_0_is_refused_by_its_key() -> None:
    with pytest.raises(ValueError, match=r"AnomalyMap\.border is -1; it must be a whole number, 0 or more"):
        AnomalyMap(1, border=-1)
