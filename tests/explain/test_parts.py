"""What explanations are made of: regions and sizes by hand, nearest patches by brute force, colours, shares, names."""

import io
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from diffect.detector.detector import ImageResult
from diffect.detector.images import Fitting
from diffect.explain.explanation import Explanation
from diffect.explain.nearest import cells_at, distances, edges, usual_distance
from diffect.explain.picture import draw
from diffect.explain.regions import worst_region
from diffect.scorers.base import Origin
from diffect.training.colours import NOTABLE, ColourScale

# Regions and sizes


def blobs() -> np.ndarray:
    values = np.zeros((20, 30), np.float32)
    values[3:6, 4:8] = 5
    values[4, 5] = 9
    values[6, 8] = 5  # touches diagonally
    values[12:18, 15:29] = 7  # larger, lower
    return values


def test_the_worst_region_hangs_together_with_the_highest_pixel() -> None:
    values, valid = blobs(), np.ones((20, 30), dtype=bool)
    found = worst_region(values, valid, outline=4.0)
    assert found.outlined and found.peak == (4, 5) and found.mask.sum() == 13
    higher = worst_region(values, valid, outline=8.0)
    assert higher.mask.sum() == 1
    for outline in (9.0, None):  # exactly at the threshold is not above it
        quiet = worst_region(values, valid, outline)
        assert not quiet.outlined and quiet.level == 4.5 and quiet.mask.sum() == 13


def test_padding_is_in_no_region() -> None:
    values, valid = blobs(), np.ones((20, 30), dtype=bool)
    valid[:, :6] = False
    values[0, 0] = 100
    found = worst_region(values, valid, outline=4.0)
    assert found.peak == (12, 15) and found.mask.sum() == 6 * 14


def test_sizes_are_in_pixels_of_the_photograph() -> None:
    # A photograph of 60 x 160 fitted as 15 x 40 into a canvas of 40 x 40, 12 rows of padding above.
    fitting = Fitting((12, 0, 15, 40), 60, 160)
    values = np.zeros((40, 40), np.float32)
    values[14:17, 10:12] = 1
    valid = np.zeros((40, 40), dtype=bool)
    valid[fitting.valid] = True
    found = worst_region(values, valid, outline=0.5)
    assert found.area(fitting) == 6 * 16 and found.box(fitting) == (40, 8, 8, 12)
    assert fitting.out(0, 0, 40, 40) == (0, 0, 160, 60)  # padding cut off


# Colours


@pytest.mark.parametrize("outline", [4.5, 0.3, -2.0, None])
def test_colours_turn_at_the_threshold_whatever_the_image(outline: float | None) -> None:
    scale = ColourScale.of(outline)
    middle = NOTABLE if outline is None else outline
    assert scale.position(middle) == 0.5 and scale.position(scale.low) == 0 and scale.low <= 0
    values = np.linspace(scale.low - 1, 40, 200, dtype=np.float32)
    positions = [scale.position(float(value)) for value in values]
    assert positions == sorted(positions) and positions[-1] < 1
    drawn = (colormaps["inferno"](positions)[:, :3] * 255).round()
    assert np.abs(scale.colours(values).astype(int) - drawn).max() <= 2  # of 255, by rounding
    if outline is None or outline > 0:  # what is quiet stays dark, and what is above differs still
        assert scale.position(middle / 8) < 0.15 and scale.position(8 * middle) - scale.position(3 * middle) > 0.1


# Shares and pictures


def explanation(size: tuple[int, int], **parts: Any) -> Explanation:
    """Of a random photograph (H, W), with half of it in the worst region."""
    pixels = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    values = np.ones(size, np.float32)
    values[: size[0] // 2] = 9
    valid = np.ones(size, dtype=bool)
    given: dict[str, Any] = {
        **{"result": ImageResult("a$b$.png", None, 8.0, 3.0, True, 0.04, size, (0, 0, *size), values, valid)},
        **{"rate": 0.05, "outline": 4.0},
        **{"photograph": pixels, "image": pixels, "fitting": Fitting((0, 0, *size), *size)},
        **{"region": worst_region(values, valid, 4.0), "grid": (size[0] // 8, size[1] // 8)},
        **{"cells": (0, 0, 1), "origins": [Origin()], "contributions": [8.0]},
    }
    return Explanation(**(given | parts))


@pytest.mark.slow
@pytest.mark.parametrize("size", [(32, 160), (64, 64), (160, 32)])
@pytest.mark.parametrize("rebuilt", [False, True])
def test_a_picture_is_as_high_as_its_image_needs(size: tuple[int, int], rebuilt: bool) -> None:
    one = explanation(size)
    drawn = draw(replace(one, rebuilt=one.image) if rebuilt else one)
    width, height = Image.open(io.BytesIO(drawn)).size
    assert width == 1144 and 500 < height < 1250 and drawn == draw(replace(one, rebuilt=one.image) if rebuilt else one)


def test_shares_are_listed_where_there_are_several() -> None:
    alone = explanation((64, 64))
    assert alone.shares == {} and "The score has a single component, so that there are no shares." in alone.sentences
    origins = [Origin(level, part) for level in (-1.0, 3.0) for part in (0, 1)]
    four = explanation((64, 64), origins=origins, contributions=[1.0, 4.0, 1.0, 2.0])
    assert four.shares == {
        "scale": {"scale 1 (fine)": 2, "scale 2 (coarse)": 6},
        "noise level": {"log-SNR -1 (more noise)": 5, "log-SNR 3 (less noise)": 3},
    }
    told = "By scale 75% of the score comes from scale 2 (coarse), by noise level 62% from log-SNR -1 (more noise)"
    assert f"{told}." in four.sentences
    headed = explanation((64, 64), origins=[Origin(), Origin(head=True)], contributions=[7.0, 1.0])
    assert headed.shares == {"component": {"all levels": 7, "head": 1}}
    assert headed.cell == (8, 8)


# Nearest patches


@pytest.mark.parametrize("side", [1, 3])
def test_distances_equal_brute_force(side: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x0 = 3 * torch.randn(4, 5, 6, 7, generator=generator)
    patches = torch.cat([torch.randn(2, 5, side, side, generator=generator), x0[2:3, :, 1 : 1 + side, 2 : 2 + side]])
    found = distances(patches, x0)
    for query, image, y, x in product(range(3), range(4), range(7 - side), range(8 - side)):
        expected = (patches[query] - x0[image, :, y : y + side, x : x + side]).square().mean().sqrt()
        assert found[query, image, y, x].item() == pytest.approx(expected.item(), abs=3e-3)
    assert found[2, 2].flatten().argmin().item() == 1 * (8 - side) + 2


def test_the_usual_distance_is_the_median_of_the_nearest_others() -> None:
    assert usual_distance(torch.tensor([[0.0, 0.0], [1.0, 1.0], [3.0, 3.0]])) == pytest.approx(1)  # of 1, 1 and 2
    assert usual_distance(torch.zeros(1, 2)) is None


def test_a_peak_lies_in_its_cells_and_pixels_are_compared_in_squares() -> None:
    for grid, side in (((8, 16), 1), ((64, 128), 4)):
        for row, column in product((0, 31, 63), (0, 77, 127)):
            cells = cells_at((row, column), (64, 128), grid)
            top, left, bottom, right = edges(cells, (64, 128), grid)
            assert top <= row < bottom <= 64 and left <= column < right <= 128 and cells[2] == side
