"""A missing cell is neither learned nor scored: fits, statistics and maps are those of the other cells alone."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from diffect.data.ignored import widened, without
from diffect.data.tiles import Tiles
from diffect.denoisers.empirical import Empirical
from diffect.denoisers.gaussian import Gaussian
from diffect.detector.anomaly_map import AnomalyMap
from diffect.representations.affine import Affine
from diffect.representations.missing import filled, present
from diffect.training.cells import CellBatches

SHAPE = (3, 4, 5)
ALWAYS, SOMETIMES = (0, 1), (2, 3)  # cells that are missing in all images, and in every other one


def images(count: int = 40, missing: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(count, *SHAPE, generator=generator) * torch.tensor([1.0, 2.0, 0.5]).view(-1, 1, 1)
    if missing:
        x0[:, :, *ALWAYS] = torch.nan
        x0[::2, :, *SOMETIMES] = torch.nan
    return x0


def test_a_missing_cell_is_filled_with_the_nearest_one() -> None:
    values = images(2)
    whole = filled(values)
    assert torch.equal(whole.where(present(values)[:, None], torch.nan).nan_to_num(), values.nan_to_num())
    row, column = SOMETIMES
    beside = [values[0, :, row + down, column + across] for down, across in ((0, 1), (0, -1), (1, 0), (-1, 0))]
    assert any(torch.equal(whole[0, :, *SOMETIMES], patch) for patch in beside)
    assert filled(torch.full((1, *SHAPE), torch.nan)).eq(0).all()  # as of a tile that is ignored altogether
    untouched = images(2, missing=False)
    assert filled(untouched) is untouched


@pytest.mark.parametrize("tiles", [None, 8])
def test_a_cell_with_an_ignored_pixel_is_missing(tiles: int | None) -> None:
    ignored = torch.zeros(2, 8, 12, dtype=torch.bool)
    ignored[1, 3, 4] = True  # in cell (1, 2), and in the cell (1, 0) of the second tile
    cut, given = Tiles(tiles, 4 if tiles else 0), torch.rand(2, 3, 8, 12)
    raw, whole = (cut.extract(lambda some: some[..., ::2, ::2], given, where) for where in (ignored, ignored & False))
    missing = raw[1].isnan().all(-3)
    assert missing.nonzero().tolist() == ([[1, 2]] if tiles is None else [[0, 1, 2], [1, 1, 0]])
    assert torch.equal(raw[0], whole[0]) and torch.equal(raw.nan_to_num(), whole.where(~raw.isnan(), 0))


def test_an_image_keeps_the_cells_of_a_narrow_region() -> None:
    ignored = torch.ones(1, 8, 12, dtype=torch.bool)
    ignored[0, :, 5] = False
    raw = without(torch.rand(1, 3, 4, 6), ignored)
    assert present(raw)[0].any(0).tolist() == [False, False, True, False, False, False]


def test_a_margin_of_a_sixteenth_is_missing_too() -> None:
    raw = torch.rand(1, 3, 32, 48)
    raw[0, :, 10, 20] = torch.nan
    rows, columns = (~present(widened(raw))[0]).nonzero().T
    assert sorted(set(rows.tolist())) == [8, 9, 10, 11, 12] and sorted(set(columns.tolist())) == [18, 19, 20, 21, 22]
    tiles = widened(raw.unflatten(0, (1, 1)))
    assert torch.equal(tiles[0].nan_to_num(), widened(raw).nan_to_num())
    raw[:, :, ::2, ::2] = torch.nan
    assert torch.equal(present(widened(raw)), present(raw))  # the margin would leave nothing


@pytest.mark.parametrize("statistics", ["shared", "cell"])
@pytest.mark.parametrize("scaling", ["scaled", "standard", "whitened"])
def test_statistics_are_of_the_other_cells(statistics: str, scaling: str) -> None:
    one, other = (Affine([3], scaling=scaling, statistics=statistics) for _ in range(2))  # type: ignore[arg-type]
    raw = images()
    one.fit((part, None) for part in raw.split(7))
    x0 = one(raw)
    assert torch.equal(present(x0), present(raw)) and one.matrix.isfinite().all() and one.mean.isfinite().all()
    if statistics == "shared":
        other.fit([(raw.movedim(1, -1)[present(raw)].view(-1, 3, 1), None)])  # each cell as an image of one cell
        assert torch.allclose(one.mean, other.mean, atol=1e-6) and torch.allclose(one.matrix, other.matrix, rtol=1e-5)
    else:
        half = raw[1::2]
        other.fit([(half.nan_to_num(0), None)])
        cell = SOMETIMES[0] * SHAPE[2] + SOMETIMES[1]
        assert torch.allclose(one.mean[0, cell], other.mean[0, cell], atol=1e-6)


def test_a_gaussian_is_of_the_images_that_have_the_cell() -> None:
    x0, label = images(), torch.zeros(40, dtype=torch.int64)
    gaussian = Gaussian(SHAPE, shrinkage=0.0)
    gaussian.fit([(x0, label)])
    cell, never = (row * SHAPE[2] + column for row, column in (SOMETIMES, ALWAYS))
    covariance = gaussian.vectors[0, cell] @ gaussian.values[0, cell].diag() @ gaussian.vectors[0, cell].mT
    seen = x0[1::2, :, *SOMETIMES].double().numpy()
    assert gaussian.mean[0, cell].numpy() == pytest.approx(seen.mean(0), abs=1e-6)
    assert covariance.numpy() == pytest.approx(np.cov(seen.T), rel=1e-4, abs=1e-6)
    assert torch.equal(gaussian.values[0, never], torch.ones(3)) and torch.equal(
        gaussian.mean[0, never], torch.zeros(3)
    )
    shared = Gaussian(SHAPE, mean="shared", covariance="shared", shrinkage=0.0)
    shared.fit([(x0, label)])
    assert shared.mean[0, 0].numpy() == pytest.approx(x0.movedim(1, -1)[present(x0)].mean(0).numpy(), abs=1e-5)


@pytest.mark.parametrize("keep", ["random", "greedy"])
def test_no_missing_patch_is_stored(keep: str) -> None:
    empirical, x0 = Empirical(SHAPE, keep=keep), images()  # type: ignore[arg-type]
    empirical.fit([(x0, torch.zeros(40, dtype=torch.int64))])
    assert len(empirical.patches) == 40 * math.prod(SHAPE[1:]) - 40 - 20 and empirical.patches.isfinite().all()


def test_a_window_around_a_cell_that_no_image_has_may_be_empty() -> None:
    x0, label = images(), torch.zeros(40, dtype=torch.int64)
    empirical = Empirical(SHAPE, window=0)
    empirical.fit([(x0, label)])
    x0_hat = empirical(filled(x0), torch.zeros(40), label)
    assert x0_hat.movedim(1, -1)[present(x0)].isfinite().all()
    with pytest.raises(ValueError, match=r"window of denoiser=empirical is 0, and 1[0-9] of the 20 cells"):
        Empirical(SHAPE, window=0, memory=5).fit([(x0, label)])


def test_no_missing_cell_is_drawn() -> None:
    cells = CellBatches.of([(images(), None)], 1, 2000, 1, 0, lambda: 0)
    drawn = next(iter(cells))["x0"]
    assert len(cells.cells[0]) == 40 * math.prod(SHAPE[1:]) - 40 - 20 and drawn.isfinite().all()


@pytest.mark.parametrize("border", [0, 1])
def test_a_map_is_calibrated_and_made_without_missing_cells(border: int) -> None:
    components = images(40, missing=False).abs() + 1
    components[:, :, *ALWAYS] = 1e6
    components[::2, :, *SOMETIMES] = 1e6
    holes = components.where(present(images())[:, None], torch.nan)
    made = AnomalyMap(3, blur=0.02, border=border)
    made.calibrate([(holes, None)])
    assert border or torch.allclose(made.scale[0], holes.nanmean((0, 2, 3)))
    maps = made.map(holes, (16, 20))
    whole = made.map(filled(holes), (16, 20))
    assert torch.equal(maps, whole) and maps.isfinite().all() and maps.max() < 20
