"""What the record of a run says: what made its numbers, how training went, the test, and how settings were chosen."""

import math
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

import diffect
from diffect.config.description import counted
from diffect.data.datamodule import DataModule
from diffect.detector.anomaly_map import AnomalyMap
from diffect.detector.module import DetectorModule
from diffect.metrics.evaluation import Evaluation
from diffect.runs.record import (
    GAINS,
    HeadTraining,
    ImageScore,
    LevelResult,
    Protocol,
    Provenance,
    Result,
    Training,
    Untrained,
)

PACKAGES = (
    "diffect",
    "torch",
    "pytorch-lightning",
    "diffusers",
    "hydra-core",
    "wandb",
    "numpy",
    "scikit-image",
)


def provenance() -> Provenance:
    """Versions, commit and time."""
    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    created = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Provenance(versions=versions, commit=_commit(), created=created)


def _commit() -> str | None:
    """The commit of the checkout that diffect runs from, `+` if it has changes; None outside a checkout."""
    git = ["git", "-C", str(Path(diffect.__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        changes = subprocess.run([*git, "status", "--porcelain", "."], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")


def device_name(device: torch.device) -> str:
    """The device, and on a CPU the number of threads."""
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{device.type} {platform.machine()}, {counted(torch.get_num_threads(), 'thread')}"


def training(detector: DetectorModule) -> Training:
    """How training went. Without selection images there are no losses, and the last step is kept.

    What is solved at once takes no step and has no initial loss.
    """
    trained_head = detector.predictor.head
    head = None if trained_head is None else HeadTraining.model_validate(trained_head.summary)
    learns = detector.learner is not None
    steps = detector.optimisation.steps if learns else 0
    losses = detector.losses
    if not losses:
        return Training(steps=steps, step_best=steps, head=head)
    step, best = min(losses[1:] if learns else losses, key=lambda pair: pair[1])
    first = losses[0][1] if learns else None
    return Training(steps=steps, loss_initial=first, loss_best=best, step_best=step, losses=list(losses), head=head)


def test(detector: DetectorModule, data: DataModule, milliseconds: float) -> dict[str, Result]:
    """The results of a tested detector by category; `milliseconds` is the latency of one image."""
    levels = detector.tally.by_level()
    evaluations = detector.tally.evaluations(detector.calibrations)
    twin = detector.untrained.evaluations() if detector.untrained else []
    for trained, untrained in zip(evaluations, twin, strict=False):
        _add_gains(trained, untrained)
    return {
        category: Result(
            metrics={**evaluation.metrics, "latency_ms": milliseconds},
            intervals=_known(evaluation.intervals),
            undefined=evaluation.undefined,
            untrained=Untrained(metrics=_known(twin[label].metrics), intervals=_known(twin[label].intervals))
            if twin
            else None,
            levels=[LevelResult(log_snr=row.pop("log_snr"), metrics=row) for row in levels.get(category, [])],
            scores=_scores(detector, data, label),
            replicates=_known(evaluation.replicates),
        )
        for label, (category, evaluation) in enumerate(zip(data.categories, evaluations, strict=True))
    }


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _add_gains(trained: Evaluation, untrained: Evaluation) -> None:
    """Add the figures named in GAINS to those of a trained detector, with replicates paired by test images."""
    for name, gain in GAINS.items():
        before, after = untrained.metrics[name], trained.metrics[name]
        if before is None or after is None:
            trained.metrics[gain] = None
            trained.omit((gain,), trained.undefined[name])
        else:
            drawn = [np.array(one.replicates[name] or []) for one in (trained, untrained)]
            trained.put({gain: np.array([after - before])}, {gain: drawn[0] - drawn[1]})


def _scores(detector: DetectorModule, data: DataModule, label: int) -> list[ImageScore]:
    """The scores of one category's test images, in the order of the data."""
    scores, calibration = [], detector.calibrations[label]
    for row, score in sorted(detector.tally.scores[label].items()):
        one, p_value = data.sample(label, row), calibration.p_value(score)
        scores.append(
            ImageScore(name=one.name, defect=one.defect, anomalous=one.anomalous, score=score, p_value=p_value)
        )
    return scores


def protocol(rate: float, detector: DetectorModule, data: DataModule, reference: str, folds: int) -> Protocol:
    """How each setting was chosen, in words.

    Args:
        rate: the promised false-positive rate.
        detector: trained and calibrated.
        data: with its splits.
        reference: the images that the components were scaled on.
        folds: of the fit images, whose out-of-fold scores set the threshold too.
    """
    held_out = bool(data.splits["selection"])
    checkpoint = "the lowest loss on the selection normals at fixed noise"
    if detector.learner is None:
        checkpoint = "none to choose from: the denoiser was solved on the fit images"
    elif not held_out:
        checkpoint = "the last step: too few images for a selection set"
    head = None
    if detector.predictor.head is not None:
        normals = "selection" if held_out else "fit"
        head = f"trained on synthetic defects on the fit images, components standardised on the {normals} normals"
    return Protocol(
        checkpoint=checkpoint,
        component_scale=_component_scale(detector.predictor.anomaly_map, reference),
        threshold=_threshold(rate, [one.threshold for one in detector.calibrations], folds),
        outline="of maps: the same of the highest pixels of the same images",
        settings="as the config gives them, fixed before the test set was read, the same for all categories",
        test_set="read once, after all of it" if data.splits["test"] else "none: there were no test images",
        head=head,
    )


def _threshold(rate: float, thresholds: list[float | None], folds: int) -> str:
    """Which images set the thresholds, and that those of categories with too few of them are null."""
    promise = f"a promised false-positive rate of {rate:g}"
    needed = f"{math.ceil(1 / rate - 1e-9) - 1} for {100 * rate:g}%"
    if all(threshold is None for threshold in thresholds):
        return f"none: too few calibration normals for {promise} ({needed})"
    by = f"each scored by a fit without its fold of {folds} [@vovk2015cross; @barber2021jackknife]"
    crossed = f", and the fit normals, {by}," if folds else ""
    some = f"; null where a category has too few of them ({needed})" if None in thresholds else ""
    return f"held-out calibration normals{crossed} for {promise}{some}"


def _component_scale(anomaly_map: AnomalyMap, reference: str) -> str:
    """How components were made comparable, and how the border was corrected before."""
    what = "the mean" if anomaly_map.calibration == "mean" else "the mean and standard deviation"
    each = ", of each category by itself" if anomaly_map.groups > 1 else ""
    width = anomaly_map.border.width
    border = (
        f", after components within {width} cells of the border were divided by how much larger they are there on "
        "normal images"
    )
    return f"{what} on {reference}{each}{border if width else ''}"
