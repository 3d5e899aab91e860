"""The predictor: one path from images to maps and scores, whatever kind of detector, alone or in a batch."""

from typing import ClassVar

import pytest
import torch
from configs import composed
from small_detector import SIZE, batch, calibrated, make, rows
from torch import Tensor

from diffect.detector.predictor import Prediction, Predictor
from diffect.diffusion.noise import ImageNoise
from diffect.representations.features import Features
from diffect.scorers.reconstruction import Reconstruction
from diffect.training import build

DETECTORS = {
    "padim": ("detector=padim",),
    "patchcore": ("detector=patchcore",),
    "stored patches by scale": ("denoiser=empirical_per_scale", "scorer.scales=separate"),
    "learned": ("denoiser=conv",),
    "reconstruction of pixels": ("representation=pixels", "denoiser=conv", "scorer=reconstruction", "scorer.steps=2"),
    "inversion": ("denoiser=gaussian", "scorer=inversion"),
    "likelihood": ("denoiser=gaussian", "scorer=likelihood"),
    "simplenet": ("detector=simplenet",),
    "head": ("denoiser=gaussian", "head=synthetic"),
}
COMMON = ("data.category=brick", "data.size=32", "data.shots=12", "backbone.blocks=[4]", "conditional=true")


@torch.no_grad()
def predictor(*overrides: str) -> tuple[Predictor, dict[str, Tensor]]:
    """A predictor of a detector whose closed forms are solved, and a batch of its test images."""
    cfg = composed("train", *COMMON, *overrides)
    data = build.open_data(cfg)
    representation = build.attach_features(cfg, data)
    representation.fit((one["raw"], one["label"]) for one in data.fit_dataloader())
    torch.manual_seed(0)
    detector = build.build(cfg, data.categories, data.blank(), representation, "predictor")
    detector.solve(data.fit_dataloader(), data.val_dataloader() if data.splits["selection"] else None)
    for parameter in () if detector.averaged is None else detector.averaged.parameters():
        parameter.add_(0.1 * torch.randn_like(parameter))  # what starts at 0 says the same of every image
    return detector.predictor.eval(), data.test_dataloader().batch([0, 9, 20, 30])


@pytest.mark.slow
@pytest.mark.parametrize("kind", DETECTORS)
@torch.no_grad()
def test_images_and_cached_features_give_the_same_alone_or_in_a_batch(kind: str) -> None:
    made, held = predictor(*DETECTORS[kind])
    cached = made.predict_batch(held)
    images = made(held["image"], held["label"], held["valid"])
    assert images.score.shape == (4,) and images.map.shape == (4, 32, 32) and images.score.unique().numel() == 4
    assert images.components.shape[:2] == (4, made.scorer.components + (made.head is not None))
    for one, other in ((images, cached), (made(held["image"].float() / 255, held["label"], held["valid"]), images)):
        assert torch.allclose(one.score, other.score, rtol=1e-4)
        assert torch.allclose(one.map, other.map, rtol=1e-3, atol=1e-4 * float(other.map.abs().max()))
    for row in range(4):
        alone = made(held["image"][row : row + 1], held["label"][row : row + 1])
        assert torch.allclose(alone.score, images.score[row], rtol=1e-4)


@torch.no_grad()
def test_a_prediction_is_scorer_then_anomaly_map() -> None:
    """Written out by hand, with the averaged weights."""
    detector, whole = calibrated(), batch()
    made = detector.predictor
    x0 = made.representation.encode(whole["raw"], whole["label"])
    components = made.scorer(detector.averaged.module, x0, whole["label"], ImageNoise(0, whole["key"]))
    maps = made.anomaly_map.map(components, (SIZE, SIZE), whole["label"])
    found = made.predict_batch(whole)
    assert torch.equal(found.map, maps) and torch.equal(found.components, components)
    assert torch.equal(found.score, made.anomaly_map.score(maps, whole["valid"]))
    assert not torch.allclose(
        components, made.scorer(detector.learner, x0, whole["label"], ImageNoise(0, whole["key"]))
    )


@torch.no_grad()
def test_an_images_map_and_score_do_not_depend_on_the_batch() -> None:
    made, whole = calibrated().predictor, batch()
    found = made.predict_batch(whole)
    assert found.map.shape == (6, SIZE, SIZE) and found.score.unique().numel() == 6
    order = [4, 1, 5, 0, 3, 2]
    for parts in ([order], [order[:1], order[1:4], order[4:]]):
        again: list[Prediction] = [made.predict_batch(rows(whole, part)) for part in parts]
        assert torch.allclose(torch.cat([one.score for one in again]), found.score[order], rtol=1e-5, atol=0)
        assert torch.allclose(torch.cat([one.map for one in again]), found.map[order], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_padding_is_not_scored() -> None:
    made, whole = calibrated().predictor, batch()
    valid = whole["valid"].clone()
    valid[:, :, -3:] = False
    found = made.predict_batch(whole | {"valid": valid})
    assert torch.equal(found.score, made.predict_batch(whole).map[:, :, :-3].amax((1, 2)))


@torch.no_grad()
def test_where_categories_share_x0_a_network_that_learned_to_do_without_labels_does() -> None:
    detector, whole = calibrated(), batch()
    made = detector.predictor
    unlabelled = {name: value for name, value in whole.items() if name != "label"}
    assert made.representation.affine.groups == made.anomaly_map.groups == 1
    x0, noise = made.representation.encode(whole["raw"]), ImageNoise(0, whole["key"])
    found = made.predict_batch(unlabelled)
    without = made.scorer(made.denoiser, x0, None, noise)
    labelled = made.scorer(made.denoiser, x0, whole["label"], noise)
    assert found.label is None and torch.allclose(found.components, without) and not torch.allclose(without, labelled)


def test_its_state_is_all_that_predicting_needs() -> None:
    detector, other = calibrated(), make()
    state = detector.predictor.state_dict()
    assert {name.split(".")[0] for name in state} == {"representation", "denoiser", "anomaly_map"}
    other.predictor.load_state_dict(state)
    with torch.no_grad():
        ours, theirs = (one.predictor.eval().predict_batch(batch()) for one in (detector, other))
    assert torch.equal(ours.score, theirs.score) and torch.equal(ours.map, theirs.map)
    with pytest.raises(RuntimeError, match=r"Missing key.*anomaly_map\.scale"):
        other.predictor.load_state_dict({name: value for name, value in state.items() if name != "anomaly_map.scale"})


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (torch.zeros(3, 8, 8), r"images have shape \(3, 8, 8\); it must be \(B, 3, 8, 8\)"),
        (torch.zeros(1, 1, 8, 8), r"images have shape \(1, 1, 8, 8\); it must be"),
        (torch.zeros(1, 3, 8, 9), r"images have shape \(1, 3, 8, 9\); it must be"),
        (
            torch.full((1, 3, 8, 8), 255.0),
            r"images hold torch\.float32 from 255 to 255; give torch\.uint8, or",
        ),
        (torch.full((1, 3, 8, 8), torch.nan), r"images hold torch\.float32 from nan to nan; give torch\.uint8"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), r"images hold torch\.int64 from 0 to 0; give torch\.uint8"),
    ],
)
def test_what_is_no_image_is_refused_with_a_sentence(images: Tensor, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make().predictor(images)


@torch.no_grad()
def test_images_are_rebuilt_where_scorer_and_representation_can() -> None:
    rebuilding = make(scorer=Reconstruction([3], steps=2)).predictor.eval()
    rebuilding.representation.fit([(batch()["raw"], None)])
    found = rebuilding.reconstruct(batch())
    assert found is not None and found.shape == (6, 3, SIZE, SIZE)
    assert found.min() >= 0 and found.max() <= 1
    assert make().predictor.reconstruct(batch()) is None  # the denoising error rebuilds nothing

    class Identity:
        identity = "identity"
        channels: ClassVar = [3]

        def maps(self, images: Tensor) -> list[Tensor]:
            return [images]

        def to(self, device: torch.device) -> None: ...

    no_way_back = make(scorer=Reconstruction([3], steps=2), representation=Features(Identity())).predictor
    assert no_way_back.reconstruct(batch()) is None
