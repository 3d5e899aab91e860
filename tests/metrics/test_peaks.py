"""A peak hits where brute force says so; ties, padding, lost masks and the bootstrap are fair."""

import math

import numpy as np
import pytest

from diffect.metrics.evaluation import ScoredImages
from diffect.metrics.peaks import mean_hits, peak_hits


def scene(images: int = 40, height: int = 24, width: int = 52, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Maps with few distinct values, so that some tie; masks of one or two small regions; padding at the right."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 120, (images, height, width)).astype(np.float32)
    masks = np.zeros(maps.shape, dtype=bool)
    for mask in masks:
        for _ in range(rng.integers(1, 3)):
            y, x = rng.integers(height - 5), rng.integers(width - 9)
            mask[y : y + rng.integers(1, 5), x : x + rng.integers(1, 5)] = True
    valid = np.ones_like(masks)
    valid[:, :, -4:] = False
    return maps, masks, valid


def by_hand(values: np.ndarray, mask: np.ndarray, inside: np.ndarray) -> float:
    """Pixel by pixel: all that are highest against all that are masked."""
    top = max(values[y, x] for y, x in np.argwhere(inside))
    peaks = [(y, x) for y, x in np.argwhere(inside) if values[y, x] == top]
    marked = [tuple(place) for place in np.argwhere(mask & inside)]
    near = 10 * min(values.shape) / 256
    return float(np.mean([min(math.dist(peak, place) for place in marked) <= near for peak in peaks]))


@pytest.mark.parametrize("size", [(24, 52), (64, 64)])
def test_hits_equal_brute_force(size: tuple[int, int]) -> None:
    maps, masks, valid = scene(40, *size)
    found = peak_hits(maps, masks, valid)
    assert found.tolist() == [by_hand(*one) for one in zip(maps, masks, valid, strict=True)]
    assert 0 < np.mean(found) < 1 and any(0 < value < 1 for value in found)


def test_near_is_ten_pixels_at_256() -> None:
    masks = np.zeros((1, 256, 300), dtype=bool)
    masks[0, 100, 100] = True
    for place, hit in (((100, 110), 1), ((100, 111), 0), ((106, 108), 1), ((107, 108), 0)):  # 3-4-5 triangles
        maps = np.zeros(masks.shape, dtype=np.float32)
        maps[0][place] = 1
        assert peak_hits(maps, masks, np.ones_like(masks)) == [hit], place


def test_a_map_that_says_nothing_does_not_hit() -> None:
    _, masks, valid = scene()
    assert peak_hits(np.zeros(masks.shape, np.float32), masks, valid).max() < 0.2


def test_padding_has_no_say() -> None:
    maps, masks, valid = scene()
    loud, marked = np.where(valid, maps, np.float32(1e6)), masks | ~valid
    assert peak_hits(loud, marked, valid).tolist() == peak_hits(maps, masks, valid).tolist()


def test_an_image_whose_mask_is_lost_has_no_hit() -> None:
    maps, masks, valid = scene(3)
    masks[1] = False
    assert np.isnan(peak_hits(maps, masks, valid)).tolist() == [False, True, False]


def test_means_are_those_of_images_repeated() -> None:
    hits = np.array([1.0, 0.0, np.nan, 0.5])
    weights = np.array([[1, 1, 1, 1], [3, 0, 5, 1], [0, 0, 2, 0]], dtype=float)
    assert mean_hits(hits, weights)[:2].tolist() == [0.5, 3.5 / 4] and np.isnan(mean_hits(hits, weights)[2])


def test_only_defective_images_with_a_mask_count_and_the_interval_is_theirs() -> None:
    maps, masks, valid = scene(60)
    anomalous = np.arange(60) % 3 > 0
    has_mask = np.arange(60) % 6 > 1
    masks[~anomalous | ~has_mask] = False
    images = ScoredImages("brick", maps.max((1, 2)).astype(float), anomalous, maps, masks, valid, has_mask)
    found = images.evaluate(replicates=300)
    judged = anomalous & has_mask
    expected = np.mean(peak_hits(maps[judged], masks[judged], valid[judged]))
    assert found.metrics["pixel_peak_hit"] == pytest.approx(expected)
    low, high = found.intervals["pixel_peak_hit"]
    assert low < expected < high and np.mean(found.replicates["pixel_peak_hit"]) == pytest.approx(expected, abs=0.02)
