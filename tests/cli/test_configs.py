"""Every choice of every config group composes and makes its object; every experiment composes; test_train runs it.

Groups and choices are found by looking into conf/, so a new one is tested by being there. No config holds a key that
its class does not know, and none names what cannot be resolved.
"""

import inspect
import re
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from configs import composed
from hydra.utils import get_class, instantiate
from omegaconf import DictConfig, OmegaConf
from PIL import Image

import diffect.cli.launch  # noqa: F401  (the resolver that names a run)
from diffect.cli.train import GROUPS
from diffect.config.files import config_folder
from diffect.data.batches import zeros
from diffect.data.datamodule import DataModule
from diffect.data.sample import IMAGE
from diffect.denoisers.base import ClosedForm, Learner
from diffect.denoisers.gaussian import Gaussian
from diffect.denoisers.learned import NoDenoiser
from diffect.detector.anomaly_map import AnomalyMap
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.objective import Objective
from diffect.errors import sentence
from diffect.representations.base import Representation
from diffect.training import build
from hydra_plugins.diffect_study.sweeper import grid

CONF = config_folder("train")
CHOICES = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
# Each choice once, those of all groups side by side: a composition takes a tenth of a second.
TOGETHER = list(zip_longest(*([f"{group}={one}" for at, one in CHOICES if at == group] for group in GROUPS)))
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
GIVEN = {"backbone=exported": ["backbone.path=net.pt2"], "backbone=timm": ["backbone.name=resnet18"]}


def train(*overrides: str, **options: Any) -> DictConfig:
    needed = [key for override in overrides for key in GIVEN.get(override, [])]
    return composed("train", *needed, *overrides, **options)


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The config with every interpolation resolved and every mandatory value there."""
    found = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}


def targets(node: Any, path: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(path, target, its keys) of all objects in a config."""
    if isinstance(node, dict):
        if "_target_" in node:
            yield path, node["_target_"], {key: value for key, value in node.items() if not key.startswith("_")}
        for key, value in node.items():
            yield from targets(value, f"{path}.{key}" if path else str(key))


# Groups


def test_the_groups_are_the_folders_and_the_defaults_choose_from_each() -> None:
    folders = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert folders == {*GROUPS, "detector", "experiment", "logged", "hydra"}
    chosen = train(return_hydra_config=True).hydra.runtime.choices
    assert {group for group in GROUPS if f"{chosen[group]}.yaml" in {p.name for p in (CONF / group).iterdir()}} == {
        *GROUPS
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "denoiser" / "network").glob("*.yaml")))
def test_a_network_is_chosen_by_its_group_or_by_a_denoiser_of_its_name(name: str) -> None:
    short = train(f"denoiser={name}")
    assert train("denoiser=learned", f"denoiser/network={name}").denoiser.network == short.denoiser.network
    # The network's keys are where experiments override them, also in a part that has another denoiser.
    inner = train("outlier_removal=z_score", f"denoiser@outlier_removal.denoiser={name}").outlier_removal.denoiser
    assert resolved(inner.network) == resolved(short.denoiser.network)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "detector").glob("*.yaml")))
def test_a_named_detector_is_a_choice_of_parts(name: str) -> None:
    config = train(f"detector={name}", return_hydra_config=True)
    chosen = config.hydra.runtime.choices
    parts = ("representation", "schedule", "denoiser", "training", "scorer", "anomaly_map")
    by_hand = train(*(f"{part}={chosen[part]}" for part in parts))
    # Nothing besides: a key set here would stay where another scorer or denoiser is chosen, which may not have it.
    assert OmegaConf.masked_copy(config, [key for key in config if key != "hydra"]) == by_hand
    assert (name == "diffusion") == (by_hand == train())


@pytest.mark.slow
def test_the_learned_detector_takes_every_other_scorer_and_another_network() -> None:
    learned = train("detector=learned")
    assert learned.training.cells == 1024 and learned.denoiser.variance_weight > 0
    for scorer in ("density", "reconstruction"):
        cfg = train("detector=learned", f"scorer={scorer}")
        assert cfg.denoiser == learned.denoiser and cfg.scorer == train(f"scorer={scorer}").scorer
        assert instantiate(cfg.scorer, channels=[4]).components >= 1
    conv = train("detector=learned", "denoiser=conv", "training=images", "scorer=denoising_noisy")
    assert conv == train(
        "denoiser=conv", "scorer=denoising_noisy", "schedule=uniform", "representation=features_standard"
    )


@pytest.mark.parametrize("choices", TOGETHER, ids=lambda choices: str(choices[0]))
def test_every_choice_composes_and_knows_its_keys(choices: tuple[str | None, ...]) -> None:
    found = resolved(train(*filter(None, choices)))
    for path, target, keys in targets(found):
        known = inspect.signature(get_class(target)).parameters
        unknown = [f"{path}.{key}" for key in keys if key not in known]
        assert unknown == [], f"{target} takes {', '.join(known)}"


@pytest.mark.parametrize(("group", "choice"), CHOICES, ids=lambda value: value)
def test_every_choice_says_in_its_first_line_what_it_is(group: str, choice: str) -> None:
    first = (CONF / group / f"{choice}.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("# ") and len(first) > 10


@pytest.mark.slow
@pytest.mark.parametrize("schedule", [choice for group, choice in CHOICES if group == "schedule"])
def test_every_schedule_samples_noise_with_every_weight(schedule: str) -> None:
    cfg = train(f"schedule={schedule}")
    for endpoints in ("matched", "native", "affine"):
        cfg.schedule.endpoints = endpoints
        for weight in (choice for group, choice in CHOICES if group == "weight"):
            cfg.weight = OmegaConf.load(CONF / "weight" / f"{weight}.yaml")
            objective = Objective(instantiate(cfg.schedule), instantiate(cfg.weight))
            noise = objective.sample(torch.zeros(8, 1, 2, 2), torch.Generator().manual_seed(0))
            assert torch.isfinite(noise.weight).all() and (noise.weight > 0).all(), (endpoints, weight)
            if endpoints == "matched":
                assert objective.schedule.reach == (-5, 7)


@pytest.mark.slow
@pytest.mark.parametrize("denoiser", [choice for group, choice in CHOICES if group == "denoiser"])
@pytest.mark.parametrize("classes", [1, 3])
def test_every_denoiser_denoises_grids_of_several_sizes(denoiser: str, classes: int) -> None:
    few = ["denoiser.memory=0.5"] if denoiser == "empirical" else []  # its default is more patches than there are
    cfg, label = train(f"denoiser={denoiser}", *few), torch.tensor([0, classes - 1])
    for shape in ((5, 16, 16), (3, 8, 8), (3, 8, 20)):
        made = instantiate(cfg.denoiser, shape=shape, classes=classes, channels=[1, shape[0] - 1]).eval()
        x_t = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
        if denoiser == "none":
            assert isinstance(made, NoDenoiser)
            continue
        assert isinstance(made, Learner) != isinstance(made, ClosedForm)
        if isinstance(made, ClosedForm):
            made.fit([(x_t.repeat(classes, 1, 1, 1), torch.arange(2 * classes) % classes)])
        with torch.no_grad():
            assert made(x_t, torch.zeros(2), label).shape == x_t.shape


@pytest.mark.slow
@pytest.mark.parametrize("scorer", [choice for group, choice in CHOICES if group == "scorer"])
@pytest.mark.parametrize("anomaly_map", [choice for group, choice in CHOICES if group == "anomaly_map"])
def test_every_scorer_and_anomaly_map_score_images(scorer: str, anomaly_map: str) -> None:
    cfg = train(f"scorer={scorer}", f"anomaly_map={anomaly_map}", "data.size=32")
    judge, denoiser = instantiate(cfg.scorer, channels=[4]), Gaussian((4, 8, 8))
    if scorer == "residual_likelihood":
        denoiser = instantiate(train("denoiser=mlp").denoiser, shape=(4, 8, 8), channels=[4])
    judge.check(denoiser, -5, 7)
    head = instantiate(cfg.anomaly_map, components=judge.components)
    assert isinstance(head, AnomalyMap)
    x0 = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    components = judge(denoiser, x0, None, ImageNoise(0, torch.tensor([1, 2])))
    maps = head.map(components, (32, 48))
    assert maps.shape == (2, 32, 48)
    assert torch.isfinite(head.score(maps, torch.ones_like(maps, dtype=torch.bool))).all()


@pytest.mark.parametrize("head", [choice for group, choice in CHOICES if group == "head"])
def test_every_head_is_one_more_component_of_the_map(head: str) -> None:
    cfg = train(f"head={head}", "denoiser=conv")  # which denoises without a fit
    detector = build.build(cfg, ["brick"], zeros(IMAGE, (64, 64)), instantiate(cfg.representation), "0123456789ab")
    predictor = detector.eval().predictor
    total = predictor.scorer.components + (head != "none")
    assert (predictor.head is None) == (head == "none")
    assert predictor.anomaly_map.scale.shape == (1, total)
    channels = sum(predictor.representation.channels)
    x0 = torch.randn(2, channels, 8, 8, generator=torch.Generator().manual_seed(0))
    batch = {"raw": x0, "label": torch.zeros(2, dtype=torch.int64), "key": torch.tensor([3, 4])}
    with torch.no_grad():
        assert predictor.components(batch).shape == (2, total, 8, 8)


@pytest.mark.parametrize("representation", [choice for group, choice in CHOICES if group == "representation"])
def test_every_representation_encodes(representation: str) -> None:
    made = instantiate(train(f"representation={representation}", "data.size=32").representation)
    assert isinstance(made, Representation)
    raw = made.extract(torch.randint(0, 256, (3, 3, 32, 32)).to(torch.uint8))
    made.fit([(raw, None)])
    assert made.encode(raw).shape == raw.shape


@pytest.mark.parametrize("scaling", ["scaled", "standard", "whitened"])
def test_features_take_every_scaling_and_grid(scaling: str) -> None:
    cfg = train(
        "data.size=64", f"representation.scaling={scaling}", "representation.grid=4", "backbone.blocks=[2,4,15]"
    )
    made = instantiate(cfg.representation)
    assert made.extract(torch.zeros(1, 3, 64, 64, dtype=torch.uint8)).shape == (1, 24 + 40 + 320, 4, 4)


def test_an_exported_backbone_is_found_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "net.pt2"
    net = torch.nn.Conv2d(3, 5, 3, stride=4, padding=1)
    batch = torch.export.Dim("batch", min=1, max=99)
    torch.export.save(torch.export.export(net, (torch.zeros(2, 3, 16, 16),), dynamic_shapes=({0: batch},)), path)
    made = instantiate(train("backbone=exported", f"backbone.path={path}", "data.size=16").representation)
    assert made.extract(torch.zeros(3, 3, 16, 16, dtype=torch.uint8)).shape == (3, 5, 4, 4)


def test_a_missing_timm_is_named_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(Exception, match="timm") as caught:
        instantiate(train("backbone=timm").representation)
    assert sentence(caught.value) == "backbone=timm needs the package timm: pip install timm"


@pytest.mark.slow
def test_every_data_choice_opens(tmp_path: Path) -> None:
    for path, count in (("bottle/train/good", 12), ("bottle/test/good", 2), ("bottle/test/broken", 2)):
        (tmp_path / path).mkdir(parents=True)
        for number in range(count):
            image = Image.effect_noise((24, 20), 20 + 3 * number).convert("RGB")
            image.save(tmp_path / path / f"{number:03d}.png")
    given = {
        "mvtec": [f"data.root={tmp_path}"],
        "textures": ["data.category=grass", "data.source.size=64"],
        "joined": [f"data.root={tmp_path}", "data.category=[bottle,grass]", "data.source.sources.textures.size=64"],
    }
    assert set(given) == {choice for group, choice in CHOICES if group == "data"}
    for choice, overrides in given.items():
        data = instantiate(train(f"data={choice}", *overrides, "data.size=32", "data.batch_size=2").data)
        assert isinstance(data, DataModule)
        data.setup()
        data.attach("", lambda images: images.float() / 255)
        assert next(iter(data.train_dataloader()))["raw"].shape == (2, 3, 32, 32), choice
        assert len(data.train_dataloader()) == 50  # an epoch is what lies between two looks at the selection loss


@pytest.mark.parametrize("trainer", [choice for group, choice in CHOICES if group == "trainer"])
def test_every_trainer_is_lightnings_with_the_steps_of_training(trainer: str) -> None:
    made = instantiate(train(f"trainer={trainer}", "training.steps=70").trainer, logger=False, accelerator="cpu")
    assert isinstance(made, pl.Trainer) and made.max_steps == 70


# Commands and experiments


COMMANDS = {
    "train": [],
    "tune": [],
    "data": [],
    "report": ["experiment=demo"],
    "score": ["run=outputs/single/0123456789ab"],
    "add": ["run=outputs/single/0123456789ab", "images=more"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_config_of_every_command_composes(command: str) -> None:
    assert resolved(composed(command, *COMMANDS[command]))


def test_every_config_of_a_command_was_composed() -> None:
    found = {path.stem for folder in (CONF, CONF / "logged") for path in folder.glob("*.yaml")}
    assert found == set(COMMANDS)


@pytest.mark.slow
def test_a_runs_folder_is_its_study_and_signature(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIFFECT_CACHE", str(tmp_path))
    folders = []
    for overrides in ([], ["seed=1"], ["panel=3", "study=mine"], ["schedule=edm"]):
        cfg = train("data.category=brick", *overrides, return_hydra_config=True)
        outputs, study, name = cfg.hydra.run.dir.split("/")
        assert outputs == "outputs" and study == cfg.study and len(name) == 12
        assert cfg.hydra.sweep.dir == f"outputs/{study}" and cfg.hydra.sweep.subdir == name
        folders.append(name)
    assert len(set(folders)) == 3 and folders[0] == folders[2]  # names and displays change no number


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes_at_each_value_of_its_sweep(name: str) -> None:
    cfg = train(f"experiment={name}", return_hydra_config=True)
    assert cfg.study == name  # `diffect report experiment=NAME` finds the runs by it
    assert cfg.hydra.mode.name == "MULTIRUN"
    params = {str(key): str(value) for key, value in cfg.hydra.sweeper.params.items()}
    jobs = grid(params, [])
    values = {key: re.split(r",(?![^\[]*\])", value) for key, value in params.items()}  # not within a list
    assert len({tuple(job) for job in jobs}) == len(jobs) == torch.tensor([len(v) for v in values.values()]).prod()
    assert "seed" in values and len(values["seed"]) >= 2  # one seed bounds nothing
    assert cfg.training.steps % cfg.training.validate_every == 0
    once = {f"{key}={value}" for key, listed in values.items() for value in listed}
    assert once == {override for job in jobs for override in job}
    for override in sorted(once):
        key = override.partition("=")[0]
        if key in (*GROUPS, "detector"):
            resolved(train(f"experiment={name}", override))
        else:  # a plain value, which cannot fail to compose
            assert OmegaConf.select(cfg, key, default=override) != override, key


@pytest.mark.slow
@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiments_header_states_what_a_reader_must_know(name: str) -> None:
    lines = (CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# @package _global_"
    header = "\n".join(line for line in lines if line.startswith("#"))
    for word in ("Question:", "Command:", "Setting:", "Cost:", "Expected:"):
        assert word in header, word
    assert f"experiment={name}" in header
    jobs = len(grid(dict(train(f"experiment={name}", return_hydra_config=True).hydra.sweeper.params), []))
    assert name == "pixels" or f"= {jobs} runs" in header
