"""What a run says about itself in its record: scores, training, schedule, protocol, versions, device."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

import diffect
from diffect.data.datamodule import DataModule
from diffect.detector import Detector
from diffect.detector.anomaly_map import AnomalyMap

VERSIONS = (
    "diffect",
    "torch",
    "pytorch-lightning",
    "diffusers",
    "hydra-core",
    "wandb",
    "numpy",
    "scikit-image",
)


def scores(detector: Detector, data: DataModule) -> dict[str, list[dict[str, Any]]]:
    """The score of every test image, by category."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for index, category in enumerate(data.categories):
        rows[category] = []
        for row, score in sorted(detector.tally.scores[index].items()):
            sample = data.sample(index, row)
            rows[category].append(
                {"name": sample.name, "defect": sample.defect, "anomalous": sample.anomalous, "score": score}
            )
    return rows


def training(detector: Detector) -> dict[str, Any]:
    """How training went: that of the denoiser or the scorer, and that of the head where there is one."""
    return _steps(detector) | ({} if detector.head is None else {"head": detector.head.told})


def _steps(detector: Detector) -> dict[str, Any]:
    """How learning by steps went. Without a selection set there are no losses, and the last step is the one kept.

    What is solved at once takes no step and has no initialisation to compare with.
    """
    losses = detector.losses
    solved = detector.learner is None
    steps = 0 if solved else detector.optimisation.steps
    if not losses:
        return {"steps": steps, "loss_initial": None, "loss_best": None, "step_best": steps, "losses": []}
    step, best = min(losses if solved else losses[1:], key=lambda pair: pair[1])
    return {
        "steps": steps,
        "loss_initial": None if solved else losses[0][1],
        "loss_best": best,
        "step_best": step,
        "losses": [list(pair) for pair in losses],
    }


def protocol(
    cfg: DictConfig, detector: Detector, data: DataModule, thresholds: list[float | None], reference: str
) -> dict[str, str]:
    """How each setting was chosen, in words; `reference` are the images that components were scaled on."""
    selection = "the lowest loss on the selection normals at fixed noise"
    if detector.learner is None:
        selection = "none to choose from: the denoiser was solved on the fit images"
    elif not data.splits["selection"]:
        selection = "the last step: too few images for a selection set"
    rate = f"a promised false-positive rate of {cfg.evaluation.conformal_rate:g}"
    promised = f"held-out calibration normals for {rate}"
    if all(value is None for value in thresholds):
        promised = f"none: too few calibration normals for {rate} (19 for 5%)"
    elif None in thresholds:
        promised += "; null where a category has too few of them (19 for 5%)"
    told = {
        "checkpoint": selection,
        "component_scale": _scale(detector.anomaly_map, reference),
        "threshold": promised,
        "outline": "of maps: the same of the highest pixels of the same images",
        "settings": "as the config gives them, fixed before the test set was read, the same for all categories",
        "test_set": "read once, after all of it",
    }
    if detector.head is not None:
        held = "selection" if data.splits["selection"] else "fit"
        told["head"] = f"trained on synthetic defects on the fit images, components standardised on the {held} normals"
    return told


def _scale(anomaly_map: AnomalyMap, reference: str) -> str:
    """How components were made comparable, and what was done before to those that err more towards the border."""
    what = "the mean" if anomaly_map.calibration == "mean" else "the mean and standard deviation"
    width = anomaly_map.border.width
    frame = f", once what lies within {width} cells of the border is damped by as much as they err more there"
    own = ", of each category by itself" if anomaly_map.groups > 1 else ""
    return f"{what} on {reference}{own}{frame if width else ''}"


def commit() -> str | None:
    """The commit of the checkout that diffect runs from, `+` if it has changes; None outside a checkout."""
    place = Path(diffect.__file__).parent
    try:
        git = ["git", "-C", str(place)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", "."], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{device.type} {platform.machine()}, {torch.get_num_threads()} threads"


def versions() -> dict[str, str]:
    """The versions of what computed the numbers."""
    return {name: version(name) for name in VERSIONS} | {"python": platform.python_version()}
