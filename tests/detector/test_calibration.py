"""Images are scored by what was fitted without them, in folds; scales are known where nothing is held out.

What stands out among the others, defective images above all, is left out, and the record says what.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from configs import composed
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig
from refitting import refit

from diffect.data.datamodule import DataModule
from diffect.data.folds import fewest_groups, originals, without_folds
from diffect.denoisers.base import ClosedForm
from diffect.detector import calibration
from diffect.detector.module import DetectorModule
from diffect.detector.predictor import Predictor
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


def crossed(cfg: DictConfig, number: int | None = None) -> tuple[DataModule, Predictor, list[calibration.Fold]]:
    """The data, a fitted predictor, and the folds of its fit images."""
    data, detector = solved(cfg)
    count = calibration.number_of_folds(detector.predictor, data, number)
    return data, detector.predictor, calibration.cross_fit(detector.predictor, data, refit(cfg), count)


def thresholds(
    data: DataModule, predictor: Predictor, folds: Sequence[calibration.Fold] = ()
) -> list[calibration.Calibration]:
    return calibration.calibrations(predictor, data.normal_dataloader("calibration"), len(data.categories), 0.05, folds)


# Folds


def test_every_image_is_left_out_once_and_never_fitted_to_then() -> None:
    data, _ = opened(config("data.shots=12", "data.category=[brick,grass]"))
    assert data.splits["selection"]
    before = {split: list(rows) for split, rows in data.splits.items()}
    views = without_folds(data, ["fit", "selection"], 4)
    everything = keys(data.fit_dataloader()) + keys(data.val_dataloader())
    assert sorted(key for view in views for key in keys(view.normal_dataloader("calibration"))) == sorted(everything)
    for view in views:
        left_out, rest = keys(view.normal_dataloader("calibration")), keys(view.fit_dataloader())
        assert sorted(left_out + rest) == sorted(everything) and set(left_out).isdisjoint(rest)
        assert {label for batch in view.normal_dataloader("calibration") for label in batch["label"].tolist()} == {0, 1}
        assert view.splits["selection"] == [] and view.splits["test"] == before["test"]
    assert data.splits == before


def test_copies_are_left_out_with_their_image_and_are_not_scored() -> None:
    data, _ = opened(config("data.shots=3", "data.augment=[mirror,flip]", "data.augment_copies=2"))
    views = without_folds(data, ["fit"], 3)
    assert [len(keys(view.fit_dataloader())) for view in views] == [6] * 3
    assert [originals(view, "fit") for view in views] == [[0, 1]] * 3
    left_out = [row for view in views for row in view.splits["calibration"]]
    assert sorted(left_out) == sorted(data.splits["fit"][position] for position in originals(data, "fit"))


def grouped(data: DataModule, names: str) -> None:
    """Gives the fit images, in order, groups of these names."""
    part = data.parts[0]
    groups = {row: name for (_, row), name in zip(data.splits["fit"], names, strict=True)}
    samples = [replace(one, group=groups.get(row, one.group)) for row, one in enumerate(part.samples)]
    data.parts[0] = replace(part, samples=samples)


def test_a_group_is_never_divided_and_folds_are_about_equal() -> None:
    data, _ = opened(config("data.shots=7"))
    grouped(data, "abbcccb")
    views = without_folds(data, ["fit"], 2)
    positions = [[data.splits["fit"].index(row) for row in view.splits["calibration"]] for view in views]
    assert positions == [[0, 1, 2, 6], [3, 4, 5]]
    assert fewest_groups(data, ["fit"]) == ("brick", 3)


@pytest.mark.parametrize("number", [0, 1, 4])
def test_folds_that_groups_cannot_fill_are_refused(number: int) -> None:
    data, _ = opened(config("data.shots=7"))
    grouped(data, "abbcccb")
    with pytest.raises(ValueError, match=rf"{number} folds are asked for, and category brick has 3 groups"):
        without_folds(data, ["fit"], number)


@pytest.mark.parametrize(
    ("chosen", "asked", "number"),
    [
        (["data.shots=40"], None, 5),
        (["data.shots=40"], 3, 3),
        (["data.shots=4"], None, 4),
        (["data.shots=1"], None, 0),
        (["data.shots=40", "head=synthetic"], None, 0),
        (["data.shots=4", "head=synthetic"], None, 4),
        (["data.shots=40", "denoiser=conv"], None, 0),
        (["data.shots=4", "denoiser=conv"], None, 0),
        (["data.shots=40", "denoiser=conv"], 2, 2),
    ],
)
def test_what_is_solved_at_once_has_folds_and_what_is_trained_only_if_asked(
    chosen: list[str], asked: int | None, number: int
) -> None:
    conv = "denoiser=conv" in chosen
    cfg = composed("train", "data.category=brick", "data.size=64", "backbone.blocks=[4]", *chosen)
    data, representation = opened(cfg)
    predictor = build.build(cfg, data.categories, data.blank(), representation, "test").predictor
    assert isinstance(predictor.denoiser, ClosedForm) != conv
    assert calibration.number_of_folds(predictor, data, asked) == number


def test_with_enough_calibration_images_there_are_no_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    data, detector = solved(config("+data.source.train=96", "data.shots=80"))
    held = len(data.splits["calibration"])
    for enough, number in ((held, 0), (held + 1, 5)):
        monkeypatch.setattr(calibration, "ENOUGH", enough)
        assert calibration.number_of_folds(detector.predictor, data, None) == number


def test_more_folds_than_groups_are_refused() -> None:
    data, detector = solved(config("data.shots=3", "denoiser.denoiser.memory=50"))
    said = r"evaluation\.folds is 4, but category brick has 3 groups of images to fit to: take at most as many, or null"
    with pytest.raises(ValueError, match=said):
        calibration.number_of_folds(detector.predictor, data, 4)


# Thresholds


@torch.no_grad()
def test_images_that_were_fitted_to_are_scored_by_what_was_fitted_without_them() -> None:
    cfg = config("data.shots=40", "denoiser.denoiser.memory=null")
    data, predictor, folds = crossed(cfg, 3)
    calibration.calibrate(predictor, data, folds)
    (both,) = thresholds(data, predictor, folds)
    (alone,) = thresholds(data, predictor)
    assert len(both.scores) == len(both.peaks) == len(data.splits["fit"]) + len(data.splits["calibration"])
    others = [score for score in both.scores if score not in alone.scores]
    expected = []
    for number, view in enumerate(without_folds(data, ["fit"], 3)):
        fitted = refit(cfg)(view, number)
        calibration.calibrate(fitted, view)
        for batch in view.normal_dataloader("calibration"):
            expected += fitted.predict_batch(batch).score.tolist()
    assert others == pytest.approx(sorted(expected), rel=1e-6)
    seen = [score for batch in data.fit_dataloader() for score in predictor.predict_batch(batch).score.tolist()]
    assert np.mean(seen) < np.mean(others)


def test_a_few_images_have_p_values_and_say_which_rate_they_promise() -> None:
    data, predictor, folds = crossed(config("data.shots=7", "denoiser.denoiser.memory=50"))
    calibration.calibrate(predictor, data, folds)
    (found,) = thresholds(data, predictor, folds)
    assert len(found.scores) == 7 and found.threshold is None
    assert found.p_value(found.scores[-1] + 1) == 1 / 8
    assert found.shortfall == "7 calibration images can promise a false-positive rate of 12.5% or more, not 5%"
    promised = replace(found, rate=0.125)
    assert promised.shortfall == "" and promised.threshold == found.scores[-1]


def test_without_selection_images_the_map_of_a_fold_is_scaled_on_the_other_folds() -> None:
    data, predictor, folds = crossed(config("data.shots=3", "denoiser.denoiser.memory=50"))
    calibration.calibrate(predictor, data, folds)
    scale = predictor.anomaly_map.scale.clone()
    (found,) = thresholds(data, predictor, folds)
    assert torch.equal(predictor.anomaly_map.scale, scale)
    scores = []
    for fold in folds:
        predictor.anomaly_map.calibrate(part for other in folds if other is not fold for part in other.reference)
        ((components, label),), (batch,) = fold.left_out, fold.data.normal_dataloader("calibration")
        scores += predictor.combine(components, batch["valid"], label).score.tolist()
    assert found.scores == pytest.approx(sorted(scores), rel=1e-6)


# The scale of components


@torch.no_grad()
def test_a_fold_is_fitted_to_the_others_the_statistics_of_x0_included() -> None:
    cfg = config("data.shots=3", "denoiser.denoiser.memory=50")
    data, predictor, folds = crossed(cfg)
    ((found, label),) = folds[1].left_out
    assert label.tolist() == [0]
    own, others = data.normal_dataloader("fit", [1]), data.normal_dataloader("fit", [0, 2])
    representation = build.represent(cfg, data.categories, data.kind)
    representation.fit((batch["raw"], batch["label"]) for batch in others)
    alone = build.build(cfg, data.categories, data.blank(), representation, "other")
    alone.solve(others, None)
    assert torch.equal(found, alone.predictor.components(next(iter(own))))
    assert not torch.allclose(found, predictor.components(next(iter(own))))


def test_without_selection_images_the_scale_is_not_that_of_images_that_were_seen() -> None:
    data, predictor, folds = crossed(config("data.shots=4", "denoiser.denoiser.memory=null"))
    said = calibration.calibrate(predictor, data, folds)
    assert said == "the fit normals and 8 copies of each (shift, zoom), each scored by a fit to the others"
    scale = predictor.anomaly_map.scale.clone()
    predictor.anomaly_map.calibrate(calibration.labelled_components(predictor, data.fit_dataloader()))
    assert (scale > 5 * predictor.anomaly_map.scale).any()  # a stored patch explains itself
    assert data.splits["selection"] == []


def test_one_image_is_calibrated_on_its_copies() -> None:
    data, predictor, folds = crossed(config("data.shots=1", "denoiser.denoiser.memory=50"))
    assert folds == []
    said = calibration.calibrate(predictor, data, folds)
    assert said == "copies of the fit normals (shift, zoom), scored by the fit to the images themselves"
    assert (predictor.anomaly_map.scale > 1e-3).all() and predictor.anomaly_map.border.profiles.numel()
    assert thresholds(data, predictor, folds)[0].shortfall == ("no normal images are left to calibrate on")


def calibrated(monkeypatch: pytest.MonkeyPatch, *overrides: str) -> tuple[str, list[list[int]], DataModule]:
    """What was said, the keys of the images that components were scaled on, and the data."""
    cfg = config(*overrides)
    data, detector = solved(cfg)
    seen: list[list[int]] = []

    def components(self: Predictor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        seen.append(batch["key"].tolist())
        return torch.ones(len(batch["key"]), len(self.anomaly_map.scale[0]), 4, 4)

    monkeypatch.setattr(Predictor, "components", components)
    number = 0 if data.splits["selection"] else 3
    folds = calibration.cross_fit(detector.predictor, data, refit(cfg), number)
    return calibration.calibrate(detector.predictor, data, folds), seen, data


@pytest.mark.parametrize(("shots", "selected"), [(8, 2), (40, 4), (80, 8), (96, 10)])
def test_few_selection_images_are_joined_by_copies_and_enough_are_not(
    shots: int, selected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = ["+data.source.train=96", "data.groups=none"]
    said, seen, data = calibrated(monkeypatch, f"data.shots={shots}", *many)
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
    scored = [key for batch in seen for key in batch]
    assert len(scored) == 3 * 10 and len(set(scored)) == 3 * 9 and trained.isdisjoint(scored)
    for position in range(3):
        fresh = keys(data.augmented("fit", calibration.KINDS, calibration.COPIES, data.seed, [position]))
        start = 10 * position  # the image to be scored, and then to scale on with its copies
        assert scored[start : start + 10] == [real[position], real[position], *fresh]


# Outlier removal


def test_the_modified_z_score_by_hand_and_unmoved_by_outliers() -> None:
    scores = np.exp(np.array([0.0, 1.0, 2.0, 3.0, 4.0]))
    assert modified_z(scores) == pytest.approx(np.array([-2, -1, 0, 1, 2]) / 1.4826)
    moved = np.append(scores[:4], np.exp(400.0))
    assert modified_z(moved)[:4] == pytest.approx(modified_z(scores)[:4])
    assert (modified_z(np.array([1.0, 1.0, 1.0, 9.0])) == 0).all()


ALIKE = ("data.source.size=128", "+data.source.train=96", "data.groups=none")  # large crops, many of each region
DEFECTIVE = ("data.contamination=0.2", "outlier_removal=z_score", "backbone.blocks=[4,7,10]", *ALIKE)


def test_defective_images_are_left_out_of_fit_and_selection_and_named() -> None:
    cfg = config(*DEFECTIVE)
    data, representation = opened(cfg)
    before = {split: len(rows) for split, rows in data.splits.items()}
    removal = instantiate(cfg.outlier_removal).clean(cfg, data, representation)
    gone = removal.dropped["brick"]
    defective = [one for one in gone if one.defect != "good"]
    assert len(defective) >= 3 and len(gone) - len(defective) <= 2 and all(one.z > 3 for one in gone)
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
    assert len(keys(data.normal_dataloader("calibration"))) == before["calibration"] - len(gone)
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
        rf"outlier_removal=z_score needs 3 groups of normal images or more of each category in fit and "
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
