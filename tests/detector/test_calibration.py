"""Images are scored by what was fitted without them, in folds; scales are known where nothing is held out.

What stands out among the others, defective images above all, is left out, and the record says what.
"""

from typing import Any

import numpy as np
import pytest
import torch
from configs import composed
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig

from diffect.data.datamodule import DataModule
from diffect.detector import calibration
from diffect.detector.module import DetectorModule
from diffect.representations.base import Representation
from diffect.training import build
from diffect.training.outlier_removal import modified_z

pytestmark = pytest.mark.slow


def config(*overrides: str) -> DictConfig:
    small = ["data.category=brick", "data.size=64", "backbone.blocks=[4]", "denoiser.denoiser.memory=200"]
    return composed("train", *small, *overrides)


def opened(cfg: DictConfig) -> tuple[DataModule, Representation]:
    data = build.open_data(cfg)
    representation = build.attach_features(cfg, data)
    representation.fit((batch["raw"], batch["label"]) for batch in data.fit_dataloader())
    return data, representation


def solved(cfg: DictConfig) -> tuple[DataModule, DetectorModule]:
    data, representation = opened(cfg)
    detector = build.build(cfg, data.categories, data.blank(), representation, "test")
    detector.solve(data.fit_dataloader(), None)
    return data, detector


def keys(batches: Any) -> list[int]:
    return [key for batch in batches for key in batch["key"].tolist()]


def test_every_image_is_left_out_once_and_never_scored_by_itself() -> None:
    data, _ = opened(config("data.shots=12", "data.category=[brick,grass]"))
    assert data.splits["selection"]
    folds = calibration.folds(data, ["fit", "selection"], most=4)
    everything = keys(data.fit_dataloader()) + keys(data.val_dataloader())
    assert len(folds) == 4 and sorted(key for fold in folds for key in keys(fold.left_out)) == sorted(everything)
    for fold in folds:
        assert sorted(keys(fold.left_out) + keys(fold.rest)) == sorted(everything)
        assert set(keys(fold.left_out)).isdisjoint(keys(fold.rest))
        assert {label for batch in fold.left_out for label in batch["label"].tolist()} == {0, 1}
        told = [data.sample(*data.splits[split][position]).name for split, position in fold.positions]
        assert len(told) == len(keys(fold.left_out))
        left = {data.parts[p].store.keys[row] for p, row in (data.splits[s][i] for s, i in fold.positions)}
        assert left == set(keys(fold.left_out))


def test_copies_are_left_out_with_their_image() -> None:
    data, _ = opened(config("data.shots=3", "data.augment=[mirror,flip]", "data.augment_copies=2"))
    folds = calibration.folds(data, ["fit"])
    assert [len(keys(fold.left_out)) for fold in folds] == [3, 3, 3]
    assert [len(fold.positions) for fold in folds] == [3] * 3
    for fold in folds:
        assert len({data.origins("fit")[position] for _, position in fold.positions}) == 1


def test_components_without_an_image_are_those_of_what_is_fitted_to_the_others() -> None:
    few = config("data.shots=3", "denoiser.denoiser.memory=50")
    data, detector = solved(few)
    others, own = data.normal_dataloader("fit", [0, 2]), data.normal_dataloader("fit", [1])
    ((found, label),) = calibration.components_without(detector.predictor, others, own)
    assert label.tolist() == [0]
    fitted = detector.predictor.representation
    alone = build.build(few, data.categories, data.blank(), fitted, "other")
    alone.solve(others, None)
    with torch.no_grad():
        assert torch.equal(found, alone.predictor.components(next(iter(own))))
        assert not torch.allclose(found, detector.predictor.components(next(iter(own))))


def test_without_selection_images_the_scale_is_not_that_of_images_that_were_seen() -> None:
    data, detector = solved(config("data.shots=4", "denoiser.denoiser.memory=null"))
    said = calibration.calibrate(detector.predictor, data)
    assert said == "the fit normals and 8 copies of each (shift, zoom), each scored by a fit to the others"
    anomaly_map = detector.predictor.anomaly_map
    scale = anomaly_map.scale.clone()
    anomaly_map.calibrate(calibration.labelled_components(detector.predictor, data.fit_dataloader()))
    assert (scale > 5 * anomaly_map.scale).any()  # a stored patch explains itself
    assert data.splits["selection"] == []


def test_one_image_is_calibrated_on_its_copies() -> None:
    data, detector = solved(config("data.shots=1", "denoiser.denoiser.memory=50"))
    said = calibration.calibrate(detector.predictor, data)
    assert said.startswith("copies of the fit normals (shift, zoom)")
    anomaly_map = detector.predictor.anomaly_map
    assert (anomaly_map.scale > 1e-3).all() and anomaly_map.border.profiles.numel()
    with pytest.raises(ValueError, match="category brick has one normal image, so that no other is left to fit to"):
        calibration.folds(data, ["fit"])


def calibrated(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> tuple[str, list[list[int]], DataModule]:
    """What was said, the keys of the images that components were scaled on, and the data."""
    data, detector = solved(config(*overrides))
    seen: list[list[int]] = []

    def judged(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(batch["key"].tolist())
        return torch.ones(len(batch["key"]), len(detector.predictor.anomaly_map.scale[0]), 4, 4)

    monkeypatch.setattr(detector.predictor, "components", judged)
    return calibration.calibrate(detector.predictor, data), seen, data


@pytest.mark.parametrize(("shots", "selected"), [(8, 2), (40, 4), (80, 8), (96, 10)])
def test_few_selection_images_are_joined_by_copies_and_enough_are_not(
    shots: int, selected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, seen, data = calibrated(monkeypatch, f"data.shots={shots}")
    own = keys(data.val_dataloader())
    found = [key for batch in seen for key in batch]
    few = selected < 8
    assert len(own) == selected and found[:selected] == own
    assert len(set(found)) == len(found) == selected * (9 if few else 1)
    assert said == "the selection normals" + " and 8 copies of each (shift, zoom)" * few
    assert set(found).isdisjoint(keys(data.fit_dataloader()))


def test_left_out_images_are_joined_by_fresh_copies_of_themselves_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _, seen, data = calibrated(monkeypatch, "data.shots=3", "data.augment=[shift,zoom]", "data.augment_copies=2")
    real = [key for position, key in enumerate(keys(data.fit_dataloader())) if position < 3]
    trained = set(keys(data.fit_dataloader())) - set(real)
    judged = [key for batch in seen for key in batch]
    assert len(judged) == len(set(judged)) == 3 * 9 and trained.isdisjoint(judged)
    place = 0
    for position in range(3):
        fresh = keys(data.augmented("fit", calibration.KINDS, calibration.COPIES, data.seed, [position]))
        assert judged[place : place + 9] == [real[position], *fresh]
        place += 9


def test_the_modified_z_score_by_hand_and_unmoved_by_outliers() -> None:
    scores = np.exp(np.array([0.0, 1.0, 2.0, 3.0, 4.0]))
    assert modified_z(scores) == pytest.approx(np.array([-2, -1, 0, 1, 2]) / 1.4826)
    moved = np.append(scores[:4], np.exp(400.0))
    assert modified_z(moved)[:4] == pytest.approx(modified_z(scores)[:4])
    assert (modified_z(np.array([1.0, 1.0, 1.0, 9.0])) == 0).all()


DEFECTIVE = ("data.contamination=0.2", "outlier_removal=z_score", "backbone.blocks=[4,7,10]")


def test_defective_images_are_left_out_of_fit_and_selection_and_named() -> None:
    cfg = config(*DEFECTIVE)
    data, representation = opened(cfg)
    before = {split: len(rows) for split, rows in data.splits.items()}
    removal = instantiate(cfg.outlier_removal).clean(cfg, data, representation)
    gone = removal.dropped["brick"]
    defective = [one for one in gone if one.defect != "good"]
    assert len(defective) >= 5 and len(gone) - len(defective) <= 2 and all(one.z > 3 for one in gone)
    assert removal.splits == ["fit", "selection"] and {one.split for one in gone} <= {"fit", "selection"}
    assert removal.scored == before["fit"] + before["selection"]
    left = {split: len(rows) for split, rows in data.splits.items()}
    assert (
        left["fit"] + left["selection"] == removal.scored - len(gone) and left["calibration"] == before["calibration"]
    )
    counted = data.summary()["categories"]["brick"]["dropped"]
    assert sum(counted.values()) == len(gone)


def test_calibration_images_go_where_that_is_asked_for() -> None:
    cfg = config(*DEFECTIVE, "outlier_removal.calibration=true")
    data, representation = opened(cfg)
    before = {split: len(rows) for split, rows in data.splits.items()}
    defective = {one.name for one in (data.sample(*row) for row in data.splits["calibration"]) if one.anomalous}
    removal = instantiate(cfg.outlier_removal).clean(cfg, data, representation)
    gone = {one.name for one in removal.dropped["brick"] if one.split == "calibration"}
    assert len(keys(data.calibration_dataloader())) == before["calibration"] - len(gone)
    assert len(gone & defective) >= 2 and len(gone - defective) <= 1
    assert removal.splits == ["fit", "selection", "calibration"]
    assert removal.scored == before["fit"] + before["selection"] + before["calibration"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("outlier_removal.threshold=0", r"OutlierRemoval\.threshold is 0; it must be a number, above 0"),
        ("outlier_removal.folds=1", r"OutlierRemoval\.folds is 1; it must be a whole number, 2 or more"),
    ],
)
def test_wrong_settings_are_refused(setting: str, message: str) -> None:
    with pytest.raises(InstantiationException, match=message):
        instantiate(config("outlier_removal=z_score", setting).outlier_removal)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (
            ["denoiser@outlier_removal.denoiser=conv"],
            r"outlier_removal\.denoiser learns by steps; .* denoiser@outlier_removal\.denoiser=",
        ),
        (
            ["denoiser@outlier_removal.denoiser=none"],
            (
                r"outlier_removal=z_score scores with outlier_removal\.denoiser and outlier_removal\.scorer: "
                r"denoiser=none leaves the scorer"
            ),
        ),
        (
            ["outlier_removal.denoiser.denoiser.keep=most"],
            r"outlier_removal=z_score scores with outlier_removal\.denoiser .* is 'most'; it must be random or greedy",
        ),
    ],
)
def test_an_outlier_removal_that_cannot_score_is_named_by_its_keys(chosen: list[str], message: str) -> None:
    cfg = config("outlier_removal=z_score", "data.shots=4", *chosen)
    with pytest.raises(ValueError, match=message):
        instantiate(cfg.outlier_removal).clean(cfg, *opened(cfg))


@pytest.mark.parametrize("shots", [1, 2])
def test_too_few_images_for_one_to_stand_out_are_refused(shots: int) -> None:
    cfg = config("outlier_removal=z_score", f"data.shots={shots}")
    assert (modified_z(np.array([1.0, 9.0])[:shots]) < 0.68).all()
    said = (
        rf"outlier_removal=z_score needs 3 normal images or more of each category in fit and "
        rf"selection.* brick has {shots}"
    )
    with pytest.raises(ValueError, match=said):
        instantiate(cfg.outlier_removal).clean(cfg, *opened(cfg))


def test_of_three_images_one_can_stand_out() -> None:
    assert modified_z(np.array([1.0, 1.1, 9.0]))[2] > 3
    cfg = config("outlier_removal=z_score", "data.shots=3")
    assert instantiate(cfg.outlier_removal).clean(cfg, *opened(cfg)).scored == 3


def test_copies_are_not_scored_and_are_left_out_with_their_image() -> None:
    copies = ["data.augment=[mirror]", "data.augment_copies=1"]
    cfg = config(*DEFECTIVE, *copies)
    data, representation = opened(cfg)
    real = sum(data.origins("fit")[at] == at for at in range(len(data.splits["fit"])))
    held = len(data.splits["selection"])
    removal = instantiate(cfg.outlier_removal).clean(cfg, data, representation)
    assert removal.scored == real + held
    assert len(data.splits["fit"]) == 2 * sum(data.origins("fit")[at] == at for at in range(len(data.splits["fit"])))
    gone = [one.name for one in removal.dropped["brick"]]
    assert gone and all("#" not in name for name in gone)
