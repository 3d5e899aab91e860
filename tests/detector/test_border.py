"""The frame damps what normal images err more towards the border, by rows and columns, and nothing else.

Inside, and where the frame errs less, a component stays as it is; so does one that takes both signs.
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
    frame = BorderCorrection(found.shape[1], width)
    frame.fit([found])
    return frame


def test_loud_rows_are_damped_by_their_gain_and_quiet_ones_left_alone() -> None:
    frame = fitted(errors())
    expected = GAINS.clamp(min=1).expand(2, -1)
    assert torch.allclose(frame.rows[0], expected, rtol=0.05)
    exactly = [2, 3, 4, 5, 7]  # inside, and where it is quiet
    assert torch.equal(frame.rows[0, :, exactly], torch.ones(2, 5))
    assert (frame.columns - 1).abs().max() < 0.05


def test_rows_and_columns_multiply_in_the_corners() -> None:
    found = errors()
    found[..., -1] *= 2
    frame = fitted(found)
    corner = frame(torch.ones(1, 2, 8, 9))[0, :, 0, -1]
    assert torch.allclose(1 / corner, torch.tensor([6.0, 6.0]), rtol=0.1)


def test_width_is_less_on_a_grid_without_two_rows_inside() -> None:
    frame = fitted(errors(columns=3), width=6)
    assert torch.equal(frame.rows[0, :, 3:5], torch.ones(2, 2))  # of eight rows three on each side at most
    assert torch.equal(frame.columns, torch.ones(1, 2, 3))


@pytest.mark.parametrize("width", [0, 2])
def test_without_width_without_fit_and_with_both_signs_nothing_changes(width: int) -> None:
    found = errors()
    signed = found - 1
    assert torch.equal(BorderCorrection(2, width)(found), found)
    assert torch.equal(fitted(found, 0)(found), found)
    assert torch.equal(fitted(signed, width)(signed), signed)


def test_the_order_of_images_has_no_say_and_a_dead_component_makes_no_infinities() -> None:
    found = errors()
    assert torch.allclose(fitted(found).rows, fitted(found.flip(0)).rows, rtol=1e-6)
    found[:, 0] = 0
    assert torch.isfinite(fitted(found)(found)).all()


def test_a_map_is_framed_before_components_are_made_comparable() -> None:
    found = errors()
    framed = AnomalyMap(2, blur=0.0, border=2)
    framed.calibrate((part, None) for part in found.split(7))
    mapped = framed.map(found, found.shape[2:])
    assert mapped.mean().item() == pytest.approx(1, abs=1e-5)
    assert mapped[:, 0].mean().item() == pytest.approx(mapped[:, 4].mean().item(), rel=0.05)


def test_a_width_below_0_is_refused_by_its_key() -> None:
    with pytest.raises(ValueError, match=r"anomaly_map\.border is -1; it must be 0 cells or more"):
        BorderCorrection(1, -1)
