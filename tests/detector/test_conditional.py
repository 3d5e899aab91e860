"""One model for several categories loses nothing: for closed forms it is, number for number, a model of each alone.

Without a label it recognises the category of an image. With conditional=false no label is used.
"""

import copy
import csv
import functools
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
import torch
from configs import composed
from omegaconf import DictConfig
from refitting import refit
from torch import Tensor

from diffect.cli.main import main
from diffect.config.files import config_folder
from diffect.data.batches import Batch
from diffect.data.datamodule import DataModule
from diffect.detector import calibration
from diffect.detector.anomaly_map import AnomalyMap
from diffect.detector.module import DetectorModule
from diffect.detector.predictor import Predictor
from diffect.representations.affine import Affine
from diffect.training import build, recording

pytestmark = pytest.mark.slow

CATEGORIES = ("brick", "grass")
SMALL = ("data.size=64", "backbone.blocks=[4,7]", "evaluation.replicates=0")
CLOSED = {
    "gaussian": ("denoiser=gaussian",),
    "empirical_per_scale": ("denoiser=empirical_per_scale",),
    "greedy, cells, max": (
        *("denoiser=empirical", "denoiser.memory=100", "representation.statistics=cell", "anomaly_map.combine=max"),
        *("anomaly_map.calibration=standard", "anomaly_map.border=2"),
    ),
    "pixels": ("denoiser=gaussian", "representation=pixels", "denoiser.covariance=shared", "data.size=32"),
}


def config(*overrides: str) -> DictConfig:
    return composed("train", *SMALL, *overrides)


@functools.cache
def trained(categories: tuple[str, ...], *overrides: str) -> tuple[DataModule, DetectorModule]:
    """A detector as a run makes it, thresholds included."""
    cfg = config(f"data.category=[{','.join(categories)}]", *overrides)
    data = build.open_data(cfg)
    representation = build.attach_features(cfg, data)
    representation.fit((batch["raw"], batch["label"]) for batch in data.fit_dataloader())
    detector = build.build(cfg, data.categories, data.blank(), representation, "conditional").eval()
    detector.solve(data.fit_dataloader(), data.val_dataloader())
    calibration.calibrate(detector.predictor, data)
    held = data.normal_dataloader("calibration")
    detector.calibrations = calibration.calibrations(detector.predictor, held, len(categories), 0.5)
    return data, detector


def solved(categories: tuple[str, ...], *overrides: str) -> tuple[DataModule, Predictor]:
    data, detector = trained(categories, *overrides)
    return data, detector.predictor


def whole(batches: Iterable[Batch]) -> Batch:
    held = list(batches)
    return {name: torch.cat([batch[name] for batch in held]) for name in held[0]}


def whole_test(data: DataModule) -> Batch:
    return whole(data.test_dataloader())


def rows(batch: Batch, kept: Tensor | Sequence[int]) -> Batch:
    return {name: value[kept] for name, value in batch.items()}


def unlabelled(batch: Batch) -> Batch:
    return {name: value for name, value in batch.items() if name != "label"}


def near(found: Tensor, wanted: Tensor) -> bool:
    """Equal, but for few cells: the last bit of x0 decides how a stored patch is rounded to half precision."""
    close = torch.isclose(found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
    return close.float().mean().item() > 0.998


# With a category


@pytest.mark.parametrize("choice", CLOSED)
@torch.no_grad()
def test_a_run_of_two_categories_is_the_runs_of_each_alone(choice: str) -> None:
    data, both = solved(CATEGORIES, *CLOSED[choice])
    outlines = [one.outline for one in trained(CATEGORIES, *CLOSED[choice])[1].calibrations]
    batch = whole_test(data)
    found = both.predict_batch(batch)
    assert both.anomaly_map.scale.shape[0] == 2 and found.label is not None
    for label, category in enumerate(CATEGORIES):
        own_data, alone = solved((category,), *CLOSED[choice])
        own, mine = whole_test(own_data), batch["label"] == label
        assert torch.equal(own["key"], batch["key"][mine])  # the same images in the same order
        wanted = alone.predict_batch(own)
        assert near(found.components[mine], wanted.components)
        assert near(found.map[mine], wanted.map) and near(found.score[mine], wanted.score)
        for name in ("location", "scale", "border.profiles"):
            whole, part = (one.anomaly_map.state_dict()[name] for one in (both, alone))
            assert near(whole[label], part[0])
        expected = trained((category,), *CLOSED[choice])[1].calibrations[0].outline
        assert expected is not None and outlines[label] == pytest.approx(expected, rel=1e-3)


@torch.no_grad()
def test_each_noise_level_and_each_contribution_is_that_of_the_category() -> None:
    data, both = solved(CATEGORIES, *CLOSED["empirical_per_scale"])
    batch = whole_test(data)
    found = both.predict_batch(batch)
    parts = both.anomaly_map.contributions(found.components, found.map, batch["valid"], found.label)
    assert torch.allclose(parts.sum(1), found.score, rtol=1e-4)
    places = [0, 2]
    made = both.anomaly_map.alone(places).map(found.components[:, places], (64, 64), batch["label"])
    for label, category in enumerate(CATEGORIES):
        own, alone = whole_test(solved((category,), *CLOSED["empirical_per_scale"])[0]), batch["label"] == label
        single = solved((category,), *CLOSED["empirical_per_scale"])[1]
        wanted = single.predict_batch(own)
        expected = single.anomaly_map.contributions(wanted.components, wanted.map, own["valid"], wanted.label)
        assert near(parts[alone], expected)
        assert near(made[alone], single.anomaly_map.alone(places).map(wanted.components[:, places], (64, 64)))


def test_held_out_normal_maps_of_either_category_are_about_one() -> None:
    data, both = solved(CATEGORIES, *CLOSED["empirical_per_scale"])
    batch = whole(data.val_dataloader())
    with torch.no_grad():
        maps = both.predict_batch(batch).map
    for label in range(2):
        assert maps[batch["label"] == label].mean().item() == pytest.approx(1, abs=0.05)


def test_without_selection_images_of_one_category_none_is_scaled_on_them() -> None:
    chosen = "denoiser=gaussian", "data.shots=12"
    cfg, (data, both) = config(f"data.category=[{','.join(CATEGORIES)}]", *chosen), trained(CATEGORIES, *chosen)
    anomaly_map, scales = both.predictor.anomaly_map, []
    held = anomaly_map.scale.clone()
    for label in (1, 0):  # first grass alone has none, then neither
        data.drop("selection", [at for at, (part, _) in enumerate(data.splits["selection"]) if part == label])
        folds = calibration.cross_fit(both.predictor, data, refit(cfg), 3)
        said = calibration.calibrate(both.predictor, data, folds)
        assert said.startswith("the fit normals") and said.endswith(", each scored by a fit to the others")
        scales.append(anomaly_map.scale.clone())
    assert torch.equal(*scales) and (scales[0] != held).all()
    told = recording.protocol(0.05, both, data, said, 3)
    assert "by a fit to the others, of each category by itself" in told.component_scale


# Without


@pytest.mark.parametrize("choice", CLOSED)
@torch.no_grad()
def test_without_a_label_scores_are_those_of_the_recognised_category(choice: str) -> None:
    data, both = solved(CATEGORIES, *CLOSED[choice])
    batch = whole_test(data)
    found = both.predict_batch(unlabelled(batch))
    assert found.label is not None
    told = both.predict_batch({**batch, "label": found.label})
    assert torch.equal(found.score, told.score) and torch.equal(found.map, told.map)
    assert torch.equal(found.components, told.components)
    right = (found.label == batch["label"]).float().mean()  # defective or not
    assert right == 1 if choice != "pixels" else right > 0.5  # colours tell little of textures that are grey


@torch.no_grad()
def test_an_image_is_of_the_gaussian_under_which_it_is_likeliest_defects_or_not() -> None:
    """The broad category errs less on anything than the narrow one does, and is still not taken for it."""
    draw = torch.Generator().manual_seed(0)
    spread = torch.linspace(0.5, 2, 4)[:, None, None]
    narrow, broad = (scale * spread * torch.randn(40, 4, 8, 8, generator=draw) for scale in (1.0, 3.0))
    label = torch.arange(2).repeat_interleave(40)
    for settings in ({}, {"scaling": "whitened"}, {"scaling": "scaled"}, {"statistics": "cell", "scaling": "whitened"}):
        affine = Affine([4], **settings, groups=2)
        affine.fit([(torch.cat([narrow, broad]), label)])
        seen = torch.cat([narrow, broad])
        seen[:, :, :2] *= 50  # a quarter of every image
        assert torch.equal(affine.likeliest(seen), label)
    cells = affine(seen[:1], label[:1]).square().sum(1).flatten()
    density = torch.distributions.MultivariateNormal(torch.zeros(4), torch.eye(4))
    at = affine(seen[:1], label[:1])[0].flatten(1).mT
    assert torch.allclose(density.log_prob(at), -cells / 2 - 2 * math.log(2 * math.pi), rtol=1e-4)
    assert torch.allclose(affine.log_volume[0], torch.logdet(affine.matrix[0]), rtol=1e-4)


@torch.no_grad()
def test_class_blind_or_not_batch_mates_have_no_say() -> None:
    data, both = solved(CATEGORIES, *CLOSED["empirical_per_scale"])
    batch = rows(whole_test(data), [0, 40, 1, 60, 2])
    for given in (batch, unlabelled(batch)):
        found = both.predict_batch(given)
        for image in range(5):
            alone = both.predict_batch(rows(given, [image]))
            assert torch.allclose(alone.score, found.score[image], rtol=1e-5)
            assert torch.allclose(alone.map[0], found.map[image], rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_conditional_false_uses_no_label() -> None:
    data, module = trained(
        CATEGORIES, *CLOSED["empirical_per_scale"], "denoiser.denoiser.memory=100", "conditional=false"
    )
    blind = module.predictor
    batch = whole_test(data)
    assert len(blind.anomaly_map.scale) == 1 and len(blind.representation.affine.mean) == 1
    found = blind.predict_batch(batch)
    for other in ({**batch, "label": 1 - batch["label"]}, unlabelled(batch)):
        again = blind.predict_batch(other)
        assert torch.equal(again.score, found.score) and torch.equal(again.map, found.map)
    assert blind.predict_batch(unlabelled(batch)).label is None
    swapped = copy.deepcopy(module)
    wrong = swapped.predictor
    held, fit = (relabelled(loader) for loader in (data.val_dataloader(), data.fit_dataloader()))
    wrong.representation.fit((batch["raw"], batch["label"]) for batch in fit)
    swapped.solve(fit, held)
    wrong.anomaly_map.calibrate(calibration.labelled_components(wrong, held))
    assert torch.equal(wrong.predict_batch(batch).score, found.score)


@pytest.mark.parametrize("part", ["representation", "denoiser", "anomaly_map"])
@torch.no_grad()
def test_each_part_can_be_conditional_and_the_representation_recognises(part: str) -> None:
    data, mixed = solved(CATEGORIES, "denoiser=gaussian", "conditional=false", f"{part}.conditional=true")
    groups = mixed.representation.affine.groups, mixed.denoiser.groups, mixed.anomaly_map.groups
    assert sorted(groups) == [1, 1, 2]
    batch = whole_test(data)
    told = mixed.predict_batch(batch).score
    swapped = mixed.predict_batch({**batch, "label": 1 - batch["label"]})
    assert not torch.equal(told, swapped.score)
    if part == "representation":
        assert torch.equal(mixed.predict_batch(unlabelled(batch)).score, told)
    else:
        with pytest.raises(ValueError, match="representation recognises the category of images without labels"):
            mixed.predict_batch(unlabelled(batch))


@pytest.mark.parametrize("name", sorted(path.stem for path in Path(config_folder("train"), "scorer").glob("*.yaml")))
@torch.no_grad()
def test_no_scorer_keeps_anything_of_a_category(name: str) -> None:
    alone = name in ("diffusion_time", "simplenet")
    choice = ("denoiser=none",) if alone else ("denoiser=gaussian", "denoiser.covariance=shared")
    if name == "residual_likelihood":
        choice = ("denoiser=mlp", "denoiser.conditional=false", "denoiser.network.width=16")
    data, module = trained(CATEGORIES, *choice, f"scorer={name}", "representation=pixels", "conditional=false")
    blind = module.predictor
    if module.averaged is not None:
        for parameter in module.averaged.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
    batch = rows(whole_test(data), [0, 20, 40, 60])
    found = blind.components(batch)
    assert found.std() > 0
    for other in ({**batch, "label": 1 - batch["label"]}, unlabelled(batch)):
        assert torch.equal(blind.components(other), found)


def relabelled(batches: Iterable[Batch]) -> list[Batch]:
    return [{**batch, "label": 1 - batch["label"]} for batch in batches]


# Checkpoints and errors


@torch.no_grad()
def test_a_loaded_checkpoint_gives_the_same_scores() -> None:
    choice = CLOSED["greedy, cells, max"]
    data, both = solved(CATEGORIES, *choice)
    batch = rows(whole_test(data), [0, 50])
    cfg = config(f"data.category=[{','.join(CATEGORIES)}]", *choice)
    represented = build.represent(cfg, CATEGORIES, data.kind)
    again = build.build(cfg, CATEGORIES, data.blank(), represented, "again").predictor.eval()
    again.load_state_dict(both.state_dict())
    for given in (batch, unlabelled(batch)):
        assert torch.equal(again.predict_batch(given).score, both.predict_batch(given).score)


def test_a_category_without_an_image_is_refused_with_a_sentence() -> None:
    raw, label = torch.rand(4, 3, 2, 2), torch.zeros(4, dtype=torch.int64)
    with pytest.raises(ValueError, match="the representation has no images with label 1 to fit on"):
        Affine([3], groups=2).fit([(raw, label)])
    with pytest.raises(ValueError, match="category number 2 has no normal sample to calibrate the map on"):
        AnomalyMap(3, classes=2).calibrate([(raw, label)])


def test_what_differs_by_category_asks_for_it() -> None:
    raw = torch.rand(4, 3, 2, 2)
    for asked in (lambda: Affine([3], groups=2)(raw), lambda: AnomalyMap(3, classes=2).map(raw, (2, 2))):
        with pytest.raises(ValueError, match="2 categories have separate statistics here, so each image needs a label"):
            asked()
    assert torch.equal(AnomalyMap(3, classes=2, conditional=False).map(raw, (2, 2)), AnomalyMap(3).map(raw, (2, 2)))


# The command line


def test_scores_with_and_without_a_category_are_those_of_the_run(tmp_path: Path) -> None:
    run, small = tmp_path / "run", [*SMALL, "panel=2", "gallery=1", "evaluation.latency_repeats=1"]
    given = [*small, "data.category=[brick,grass]", "denoiser=gaussian", "tracking.mode=offline"]
    assert main(["train", *given, f"hydra.run.dir={run}"]) == 0
    found = {}
    for name, more in (("labelled", []), ("unlabelled", ["category=none"])):
        assert main(["score", f"run={run}", f"out={tmp_path}/{name}", "maps=false", *more]) == 0
        with (tmp_path / name / "scores.csv").open() as file:
            found[name] = {row["name"]: row for row in csv.DictReader(file)}
    with (run / "scores.csv").open() as file:
        own = {f"{row['category']}/{row['name']}": float(row["score"]) for row in csv.DictReader(file)}
    assert {name: float(row["score"]) for name, row in found["labelled"].items()} == pytest.approx(own, rel=1e-4)
    for name, row in found["unlabelled"].items():
        told = found["labelled"][name]
        assert all(row[key] == told[key] for key in ("category", "threshold", "flagged")) and row["flagged"]
        assert float(row["score"]) == pytest.approx(own[name], rel=1e-4)
