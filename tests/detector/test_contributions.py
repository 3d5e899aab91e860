"""What components add to a score adds up to it, is theirs alone, and depends neither on batch mates nor on padding."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from diffect.detector.anomaly_map import AnomalyMap

SIZE = (24, 40)
WAYS: dict[str, dict[str, Any]] = {
    "mean": {},
    "standard": {"calibration": "standard"},
    "max": {"combine": "max"},
    "loudest and highest": {"combine": "max", "pool": "max", "calibration": "standard"},
    "weighted, framed": {"weights": [0.5, 0.25, 0.2, 0.05], "border": 2, "share": 0.07},
}


def scene(count: int = 5) -> tuple[Tensor, Tensor]:
    """Components (B, 4, 6, 10) of very different scale, and valid with padding at the right of every other image."""
    generator = torch.Generator().manual_seed(0)
    found = torch.rand(count, 4, 6, 10, generator=generator) ** 3 * torch.tensor([1, 10, 0.1, 3])[:, None, None]
    valid = torch.ones(count, *SIZE, dtype=torch.bool)
    valid[::2, :, -7:] = False
    return found, valid


def made(way: str, blur: float = 0.03) -> AnomalyMap:
    found = AnomalyMap(4, blur=blur, **WAYS[way])
    found.calibrate([(scene(9)[0], None)])
    return found


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("blur", [0.0, 0.03])
def test_contributions_add_up_to_the_score(way: str, blur: float) -> None:
    (found, valid), judged = scene(), made(way, blur)
    maps = judged.map(found, SIZE)
    parts, scores = judged.contributions(found, maps, valid), judged.score(maps, valid)
    assert parts.shape == (5, 4) and torch.allclose(parts.sum(1), scores, rtol=1e-5, atol=1e-6)
    assert (parts.abs() > 1e-3).sum() > 5  # and no single one is all of it


@pytest.mark.parametrize("way", ["mean", "standard", "weighted, framed"])
def test_of_a_mean_each_is_its_own_map_at_the_pixels_of_the_score(way: str) -> None:
    (found, valid), judged = scene(), made(way)
    maps = judged.map(found, SIZE)
    parts = judged.contributions(found, maps, valid)
    weights = judged.weights or [0.25] * 4
    for place in range(4):
        alone = judged.alone([place]).map(found[:, [place]], SIZE)
        for image in range(5):
            inside = valid[image]
            count = max(1, math.ceil(judged.share * int(inside.sum()) - 1e-6))
            top = maps[image][inside].topk(count).indices
            expected = weights[place] * alone[image][inside][top].mean()
            assert parts[image, place].item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)


def test_of_a_maximum_the_highest_at_a_cell_takes_it_whole() -> None:
    judged = AnomalyMap(3, blur=0.0, pool="max", combine="max")
    found = torch.tensor([[1.0, 5.0], [2.0, 3.0], [0.0, 4.0]]).view(1, 3, 1, 2)
    valid = torch.tensor([[[True, False]]])  # the cell of 5 is padding
    assert judged.contributions(found, judged.map(found, (1, 2)), valid).tolist() == [[0.0, 2.0, 0.0]]
    assert judged.contributions(found, judged.map(found, (1, 2)), ~valid).tolist() == [[5.0, 0.0, 0.0]]


@pytest.mark.parametrize("way", WAYS)
def test_batch_mates_have_no_say(way: str) -> None:
    (found, valid), judged = scene(), made(way)
    whole = judged.contributions(found, judged.map(found, SIZE), valid)
    for image in range(5):
        one = slice(image, image + 1)
        alone = judged.contributions(found[one], judged.map(found[one], SIZE), valid[one])
        assert torch.allclose(alone[0], whole[image], rtol=1e-5, atol=1e-6)
