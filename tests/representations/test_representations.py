"""x0 has unit variance whatever the representation, fitted on training images alone; pixels come back exactly.

`standard`: every channel. `scaled`: the mean channel of every level. `whitened`: the identity as covariance, up to
its shrinkage. The fit does not depend on how the images were batched, and no backbone enters a checkpoint.
"""

from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from diffect.representations.affine import Affine
from diffect.representations.backbones import Backbone, EfficientNetLite
from diffect.representations.base import Representation
from diffect.representations.features import Features
from diffect.representations.pixels import Pixels


class Pyramid(Backbone):
    """A backbone of two levels with channels of very different scale that depend on each other."""

    identity = "pyramid"
    channels: ClassVar = [4, 3]

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.fine, self.coarse = nn.Conv2d(3, 4, 3, 2, 1), nn.Conv2d(3, 3, 3, 4, 1)
        with torch.no_grad():
            self.fine.weight.mul_(torch.tensor([1.0, 10.0, 0.1, 3.0]).view(4, 1, 1, 1))
            self.coarse.weight.mul_(100)
        self.moved_to: list[torch.device] = []

    def maps(self, images: Tensor) -> list[Tensor]:
        return [self.fine(images), self.coarse(images)]

    def to(self, device: torch.device) -> None:
        self.moved_to.append(device)


def images(count: int = 24, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    tint = torch.randint(0, 100, (count, 3, 1, 1), generator=generator)
    return (torch.randint(0, 120, (count, 3, size, size), generator=generator) + tint).to(torch.uint8)


def fitted(representation: Representation) -> tuple[Representation, Tensor]:
    raw = representation.extract(images())
    representation.fit((part, None) for part in raw.split(5))
    return representation, representation.encode(raw)


def covariance(x0: Tensor) -> Tensor:
    return torch.cov(x0.double().movedim(1, 0).flatten(1), correction=0)


MAKERS = {
    "pixels": Pixels,
    "standard": lambda: Features(Pyramid(), scaling="standard"),
    "raw": lambda: Features(Pyramid(), scaling="raw"),
    "scaled": lambda: Features(Pyramid(), scaling="scaled"),
    "whitened": lambda: Features(Pyramid(), scaling="whitened"),
    "standard by cell": lambda: Features(Pyramid(), scaling="standard", statistics="cell"),
    "whitened by cell": lambda: Features(Pyramid(), scaling="whitened", statistics="cell"),
}


@pytest.mark.parametrize("name", MAKERS)
def test_x0_has_mean_zero_and_unit_variance(name: str) -> None:
    _, x0 = fitted(MAKERS[name]())
    assert x0.dtype == torch.float32
    assert x0.mean((0, 2, 3)).abs().max() < 1e-4
    variance = covariance(x0).diagonal()
    if name == "standard by cell":  # but for what the prior of all cells lends to each
        assert (variance - 1).abs().max() < 0.1
        return
    if name in ("pixels", "standard"):
        assert (variance - 1).abs().max() < 1e-4
    elif name == "scaled":
        assert variance[:4].mean().item() == pytest.approx(1, abs=1e-4)
        assert variance[4:].mean().item() == pytest.approx(1, abs=1e-4)
        assert variance.max() > 1.5  # channels keep their relative variance
    else:
        assert variance.mean().item() == pytest.approx(1, abs=0.1 if "cell" in name else 1e-4)


def test_raw_multiplies_everything_by_one_number_and_scaled_each_level() -> None:
    assert fitted(MAKERS["raw"]())[0].affine.matrix.unique().numel() == 1
    representation, _ = fitted(MAKERS["scaled"]())
    ((scalars,),) = representation.affine.matrix
    assert scalars[:4].unique().numel() == scalars[4:].unique().numel() == 1
    assert scalars[0] > 5 * scalars[6]


@pytest.mark.parametrize("shrinkage", [1e-6, 1e-3])
def test_whitened_x0_has_the_identity_as_covariance_up_to_the_shrinkage(shrinkage: float) -> None:
    representation = Features(Pyramid(), scaling="whitened", shrinkage=shrinkage)
    raw = representation.extract(images())
    representation.fit([(raw, None)])
    # The smallest of the correlations' eigenvalues says how much a shrinkage of its size may show.
    smallest = torch.linalg.eigvalsh(torch.corrcoef(raw.double().movedim(1, 0).flatten(1))).min().item()
    found = covariance(representation.encode(raw))
    assert (found - torch.eye(7)).abs().max() < 3 * shrinkage / smallest + 1e-3
    assert smallest < 0.5  # there was something to whiten


def test_whitening_is_the_symmetric_root_on_correlations() -> None:
    representation, _ = fitted(MAKERS["whitened"]())
    raw = representation.extract(images())
    std = raw.double().std((0, 2, 3), correction=0)
    on_standardised = representation.affine.matrix[0, 0].double() * std[:, None]
    assert torch.allclose(on_standardised, on_standardised.T, atol=1e-3)
    assert (torch.linalg.eigvalsh(on_standardised) > 0).all()


def test_the_statistics_of_a_cell_count_those_of_all_cells_as_so_many_images_more() -> None:
    raw = Features(Pyramid()).extract(images())  # (24, 7, 8, 8)
    raw[:, :, 0] = 5 * raw[:, :, 0] + 3  # a row unlike the others, as the border of an image is
    few, many = (
        Affine([4, 3], "standard", "cell", prior=1e-9, floor=0),
        Affine([4, 3], "standard", "cell", prior=24, floor=0),
    )
    for affine in (few, many):
        affine.fit((part, None) for part in raw.split(7))
    x0 = few(raw)
    assert x0.mean(0).abs().max() < 1e-4 and (x0.var(0, correction=0) - 1).abs().max() < 1e-3
    own = raw.double().var(0, correction=0).flatten(1).T  # (64, 7)
    expected = (24 * own + 24 * own.mean(0)) / 48
    assert torch.allclose(many.matrix[0].double(), expected.rsqrt(), rtol=1e-3)
    assert torch.allclose(many.inverse(many(raw)), raw, atol=1e-4)


def test_whitening_by_cell_takes_out_each_cells_own_covariance() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(6, 5, 5, generator=generator)  # of 2 x 3 cells
    raw = torch.einsum("pcd,bpd->bcp", mixing, torch.randn(400, 6, 5, generator=generator)).unflatten(2, (2, 3))
    affine = Affine([5], "whitened", "cell", prior=1e-9, correlation_prior=1e-9, floor=0, shrinkage=1e-6)
    affine.fit((part, None) for part in raw.split(64))
    patches = affine(raw).flatten(2).permute(2, 0, 1).double()  # (6, 400, 5)
    assert (patches.mT @ patches / 400 - torch.eye(5)).abs().max() < 1e-2
    shared = Affine([5], "whitened", "shared", shrinkage=1e-6)
    shared.fit((part, None) for part in raw.split(64))
    patches = shared(raw).flatten(2).permute(2, 0, 1).double()
    assert (patches.mT @ patches / 400 - torch.eye(5)).abs().max() > 0.2


def test_a_dead_channel_neither_breaks_whitening_nor_makes_infinities() -> None:
    for scaling in ("standard", "scaled", "whitened"):
        representation = Features(Pyramid(), scaling=scaling)
        raw = representation.extract(images())
        raw[:, 2] = 0.25
        representation.fit([(raw, None)])
        x0 = representation.encode(raw)
        assert torch.isfinite(x0).all() and x0[:, 2].abs().max() < 0.1


@pytest.mark.parametrize("name", MAKERS)
def test_the_fit_does_not_depend_on_the_batches(name: str) -> None:
    raw = MAKERS[name]().extract(images())
    found = []
    for split in ([24], [1] * 24, [7, 16, 1]):
        representation = MAKERS[name]()
        representation.fit((part, None) for part in raw.split(split))
        found.append((representation.affine.mean, representation.affine.matrix))
    for mean, matrix in found[1:]:
        assert torch.allclose(mean, found[0][0], rtol=1e-5, atol=1e-6 * found[0][0].abs().max().item())
        assert torch.allclose(matrix, found[0][1], rtol=1e-5, atol=1e-6 * found[0][1].abs().max().item())


@pytest.mark.parametrize("name", MAKERS)
def test_a_sample_is_encoded_the_same_in_any_batch(name: str) -> None:
    representation, x0 = fitted(MAKERS[name]())
    alone = torch.cat([representation.encode(representation.extract(images()[i : i + 1])) for i in range(24)])
    assert (alone - x0).abs().max() < 1e-5 * x0.abs().max()


def test_pixels_come_back_from_x0() -> None:
    representation, x0 = fitted(Pixels())
    decoded = representation.decode(x0)
    assert decoded is not None and torch.allclose(decoded, images().float() / 255, atol=1e-6)
    assert torch.equal((decoded * 255).round().to(torch.uint8), images())
    far = representation.decode(x0 + 100)
    assert far is not None and far.max() == 1  # what a model makes up is clipped to what an image can be
    assert Pixels().identity == ""  # not worth a cache


def test_features_have_no_way_back() -> None:
    representation, x0 = fitted(MAKERS["standard"]())
    assert representation.decode(x0) is None


def test_levels_are_brought_to_one_grid() -> None:
    raw = images()
    pyramid = Pyramid()
    fine, coarse = pyramid.maps(raw.float() / 255)  # 8 x 8 and 4 x 4
    own = Features(pyramid, exposure="none").extract(raw)
    assert own.shape == (24, 7, 8, 8) and torch.equal(own[:, :4], fine)
    assert torch.allclose(own[:, 4:].mean((2, 3)), coarse.mean((2, 3)), atol=0.2 * coarse.std().item())
    down = Features(pyramid, grid=4, exposure="none").extract(raw)
    assert torch.allclose(down[:, :4], nn.functional.avg_pool2d(fine, 2), atol=1e-5)
    assert torch.equal(down[:, 4:], coarse)


def test_a_neighbourhood_is_averaged_over_the_neighbours_that_are_there_before_the_scales_are_joined() -> None:
    plain, averaged = (Features(Pyramid(), neighbourhood=size, exposure="none") for size in (1, 3))  # type: ignore[arg-type]
    raw, joined = plain.extract(images()), averaged.extract(images())
    assert torch.allclose(joined[:, :4, 0, 1], raw[:, :4, :2, :3].mean((2, 3)), atol=1e-5)
    assert torch.allclose(joined[:, :4, 3, 7], raw[:, :4, 2:5, 6:].mean((2, 3)), atol=1e-5)
    coarse = Pyramid().maps(images().float() / 255)[1]  # 4 x 4: a cell of the joined grid's corner
    assert torch.allclose(joined[:, 4:, 0, 0], coarse[:, :, :2, :2].mean((2, 3)), atol=1e-3)
    assert plain.identity != averaged.identity and "3 x 3" in averaged.describe()
    with pytest.raises(ValueError, match=r"Features\.neighbourhood is 2; it must be 1 or 3"):
        Features(Pyramid(), neighbourhood=2)  # type: ignore[arg-type]


def test_long_images_have_long_grids() -> None:
    long = images(3, 40)[:, :, :16]  # 16 x 40
    fine, coarse = Pyramid().maps(long.float() / 255)  # 8 x 20 and 4 x 10
    assert torch.equal(Features(Pyramid(), exposure="none").extract(long)[:, :4], fine)
    down = Features(Pyramid(), grid=4, exposure="none").extract(long)  # the short side's cells
    assert torch.equal(down[:, 4:], coarse)
    assert torch.allclose(down[:, :4], nn.functional.avg_pool2d(fine, 2), atol=1e-5)
    upright = Features(Pyramid(), grid=6).extract(long.mT.contiguous())
    assert upright.shape == (3, 7, 15, 6)


def test_the_identity_names_all_of_the_frozen_stage_and_nothing_that_is_fitted() -> None:
    names = {Features(Pyramid(), grid=grid).identity for grid in (None, 4, 8)}
    assert len(names | {Features(Pyramid(), exposure="none").identity}) == 4
    same = {Features(Pyramid(), scaling=scaling).identity for scaling in ("standard", "scaled", "whitened")}
    assert len(same) == 1 and next(iter(same)).startswith("pyramid:")


def test_no_backbone_enters_the_checkpoint_and_none_is_trained() -> None:
    representation = Features(EfficientNetLite((2, 4)))
    assert set(representation.state_dict()) == {"affine.mean", "affine.matrix", "affine.log_volume"}
    assert list(representation.parameters()) == []
    raw = representation.extract(images(4, 64))
    assert raw.shape == (4, 64, 16, 16) and not raw.requires_grad


def test_the_fit_travels_in_the_checkpoint() -> None:
    representation, x0 = fitted(MAKERS["whitened"]())
    other = MAKERS["whitened"]()
    other.load_state_dict(representation.state_dict())
    assert torch.equal(other.encode(other.extract(images())), x0)


def test_the_backbone_follows_the_images_to_their_device() -> None:
    pyramid = Pyramid()
    Features(pyramid).extract(images())
    assert pyramid.moved_to == [torch.device("cpu")]


def test_channels_last_changes_x0_by_rounding_alone() -> None:
    last, first = (Features(EfficientNetLite((4, 7, 10), channels_last=last)) for last in (True, False))
    raw, other = last.extract(images(6, 64)), first.extract(images(6, 64))
    assert last.identity != first.identity and raw.is_contiguous()
    assert (raw - other).abs().max() < 1e-5 * other.abs().max()
    first.fit([(other, None)])
    assert (first.encode(raw) - first.encode(other)).abs().max() < 1e-4  # in standard deviations


def test_bfloat16_is_close_to_float32_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diffect.representations.features.has_bfloat16", lambda device: True)
    exact, half = Features(EfficientNetLite((2, 4))), Features(EfficientNetLite((2, 4)), precision="bfloat16")
    found, expected = half.extract(images(2, 64)), exact.extract(images(2, 64))
    assert found.dtype == torch.float32 and not torch.equal(found, expected)
    assert (found - expected).std() < 0.05 * expected.std()
    assert half.identity != exact.identity and "frozen, in bfloat16," in half.describe()


def test_bfloat16_is_refused_where_the_processor_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    capabilities = {"avx512_f": True, "avx512_bf16": False}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    with pytest.raises(ValueError, match=r"precision is bfloat16, but this processor .*: take float32"):
        Features(Pyramid(), precision="bfloat16").extract(images())
    capabilities["avx512_bf16"] = True
    assert Features(Pyramid(), precision="bfloat16").extract(images()).shape == (24, 7, 8, 8)


def test_nothing_to_fit_on_is_refused() -> None:
    with pytest.raises(ValueError, match="no images to fit on"):
        Pixels().fit([])


def test_an_unknown_exposure_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Features\.exposure is 'auto'; it must be level or none"):
        Features(Pyramid(), exposure="auto")


def test_an_unknown_scaling_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Features\.scaling is 'minmax'; it must be raw, scaled, standard or w"):
        Features(Pyramid(), scaling="minmax")


@pytest.mark.parametrize("settings", [{"grid": 0}, {"grid": -4}, {"shrinkage": 0.0}, {"shrinkage": -1.0}], ids=str)
def test_an_impossible_grid_or_shrinkage_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=rf"Features\.{next(iter(settings))} is .*; it must be"):
        Features(Pyramid(), **settings)
