"""Maps are calibrated, combined, upsampled and blurred by their formulas, scores pooled; padding has no say.

The blur equals SciPy's. Images may have any two sides.
"""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from diffect.detector.anomaly_map import AnomalyMap


def components(count: int = 7) -> Tensor:
    """Three positive components of very different scale."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, 5, 4, generator=generator) * torch.tensor([1, 10, 0.1])[:, None, None]


def calibrated(found: Tensor, **settings: Any) -> AnomalyMap:
    made = AnomalyMap(found.shape[1], blur=0.0, **settings)
    made.calibrate((part, None) for part in (found[:4], found[4:6], found[6:]))
    return made


# Calibration


def test_calibration_takes_the_mean_of_each_component_over_images_and_cells() -> None:
    found = components()
    head = calibrated(found)
    assert torch.allclose(head.scale[0], found.mean((0, 2, 3))) and (head.location == 0).all()
    # Each component then weighs alike, and a normal image's map is about 1.
    assert head.map(found, (5, 4)).mean().item() == pytest.approx(1, abs=1e-6)
    expected = (found / found.mean((0, 2, 3)).view(1, 3, 1, 1)).mean(1)
    assert torch.allclose(head.map(found, (5, 4)), expected)
    assert {"scale", "location", "border.profiles", "border.signed"} == set(head.state_dict())


def test_standard_calibration_gives_each_component_mean_0_and_variance_1() -> None:
    found = components() - 3  # some of either sign
    head = calibrated(found, calibration="standard")
    wide = found.movedim(1, 0).flatten(1)
    assert torch.allclose(head.location[0], wide.mean(1)) and torch.allclose(head.scale[0], wide.std(1, correction=0))
    mean, std = (value.view(1, 3, 1, 1) for value in (wide.mean(1), wide.std(1, correction=0)))
    assert torch.allclose(head.map(found, (5, 4)), ((found - mean) / std).mean(1), atol=1e-5)


@pytest.mark.parametrize("calibration", ["mean", "standard"])
def test_of_one_component_calibration_changes_no_order_whatever_its_sign(calibration: Any) -> None:
    for shift in (-5.0, 0.0, 5.0):
        found = components()[:, :1] + shift
        mapped = calibrated(found, calibration=calibration).map(found, (5, 4)).flatten()
        assert torch.equal(mapped.argsort(), found.flatten().argsort()), shift


def test_calibration_does_not_depend_on_how_batches_are_cut() -> None:
    found = components()
    for calibration in ("mean", "standard"):
        one, other = AnomalyMap(3, calibration=calibration), AnomalyMap(3, calibration=calibration)
        one.calibrate([(found, None)])
        other.calibrate((part, None) for part in found.flip(0).split(2))
        assert torch.allclose(one.scale, other.scale, rtol=1e-6)
        assert torch.allclose(one.location, other.location, rtol=1e-6)


def test_a_component_that_is_always_zero_does_not_divide_by_zero() -> None:
    for calibration in ("mean", "standard"):
        head = AnomalyMap(2, blur=0.0, calibration=calibration)
        head.calibrate([(torch.stack([torch.zeros(3, 4, 4), torch.ones(3, 4, 4)], 1), None)])
        normal = torch.stack([torch.zeros(1, 4, 4), torch.ones(1, 4, 4)], 1)
        assert torch.isfinite(head.map(normal, (4, 4))).all()


def test_components_are_combined_by_mean_or_by_the_loudest() -> None:
    found = components()
    scaled = found / found.mean((0, 2, 3)).view(1, 3, 1, 1)
    assert torch.allclose(calibrated(found, combine="max").map(found, (5, 4)), scaled.amax(1))
    assert torch.allclose(calibrated(found, combine="mean").map(found, (5, 4)), scaled.mean(1))


# Maps


@pytest.mark.parametrize("blur", [0.0, 0.7, 2.0, 30.0])
@pytest.mark.parametrize("size", [(20, 20), (20, 36), (30, 20), (20,), (20, 24, 22)])
def test_maps_keep_a_constant(size: tuple[int, ...], blur: float) -> None:
    head = AnomalyMap(2, blur=blur / 20)
    found = head.map(torch.full((3, 2, *[5] * len(size)), 3.5), size)
    assert found.shape == (3, *size) and torch.allclose(found, torch.full_like(found, 3.5))


@pytest.mark.parametrize("size", [(40, 40), (40, 64), (56, 40), (40,), (40, 42, 44)])
def test_the_blur_is_a_gaussian_in_shares_of_the_short_side(size: tuple[int, ...]) -> None:
    head = AnomalyMap(1, blur=2 / 40)
    image = torch.zeros(1, 1, *size)
    centre = (20, 17, 21)[: len(size)]
    image[(0, 0, *centre)] = 5.0
    found = head.map(image, size)
    assert found.sum().item() == pytest.approx(5.0, rel=1e-5)
    assert np.unravel_index(found.argmax().item(), size) == centre
    noise = torch.rand(1, 1, *size, generator=torch.Generator().manual_seed(0))
    expected = gaussian_filter(noise[0, 0].numpy().astype(float), 2.0, mode="mirror", truncate=4.0)
    assert np.abs(head.map(noise, size)[0].numpy() - expected).max() < 1e-5


def test_the_map_is_upsampled_to_the_size_of_the_image() -> None:
    head = AnomalyMap(1, blur=0.0)
    found = torch.zeros(1, 1, 3, 4)
    found[0, 0, 1, 2] = 1.0
    wide = head.map(found, (12, 32))[0]
    rows, columns = (wide == wide.max()).nonzero(as_tuple=True)
    assert rows.min() >= 4 and rows.max() < 8 and columns.min() >= 16 and columns.max() < 24  # where the cell lies


# Scores


def test_the_score_is_the_maximum_or_the_mean_of_the_top_share() -> None:
    maps = torch.randn(3, 16, 25, generator=torch.Generator().manual_seed(0))
    valid = torch.ones(3, 16, 25, dtype=torch.bool)
    assert torch.equal(AnomalyMap(1, pool="max").score(maps, valid), maps.amax((1, 2)))
    for share, count in ((0.01, 4), (0.07, 28), (0.29, 116), (0.001, 1), (1.0, 400), (0.0101, 5)):
        top = np.sort(maps.flatten(1).numpy(), 1)[:, -count:].mean(1)
        found = AnomalyMap(1, pool="top_mean", share=share).score(maps, valid)
        assert np.abs(found.numpy() - top).max() < 1e-5, share


@pytest.mark.parametrize("pool", ["max", "top_mean"])
def test_padding_has_no_say_in_the_score(pool: Literal["max", "top_mean"]) -> None:
    maps = torch.randn(2, 20, 20, generator=torch.Generator().manual_seed(0))
    valid = torch.zeros(2, 20, 20, dtype=torch.bool)
    valid[0, 5:15], valid[1, :, 3:8] = True, True
    head = AnomalyMap(1, pool=pool, share=0.1)
    loud = torch.where(valid, maps, torch.tensor(1e6))
    found = head.score(loud, valid)
    assert torch.equal(found, head.score(maps, valid)) and found.max() < 10
    cropped = torch.cat([head.score(maps[:1, 5:15], valid[:1, 5:15]), head.score(maps[1:, :, 3:8], valid[1:, :, 3:8])])
    assert torch.equal(found, cropped)


# Bad settings

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "pool": (lambda: AnomalyMap(1, pool="mean"), r"AnomalyMap\.pool is 'mean'; it must be max or top_mean"),
    "combine": (lambda: AnomalyMap(1, combine="sum"), r"AnomalyMap\.combine is 'sum'; it must be mean or max"),
    "calibration": (
        lambda: AnomalyMap(1, calibration="z"),
        r"AnomalyMap\.calibration is 'z'; it must be mean or standard",
    ),
    "share of nothing": (
        lambda: AnomalyMap(1, share=0),
        r"share is 0; it must be a number, above 0 and 1 or less",
    ),
    "share above one": (lambda: AnomalyMap(1, share=1.5), r"AnomalyMap\.share is 1\.5"),
    "blur": (lambda: AnomalyMap(1, blur=-1), r"AnomalyMap\.blur is -1"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_settings_are_refused_with_a_sentence(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()
