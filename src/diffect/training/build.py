"""From a composed config to the objects of a run: data, representation, denoiser, scorer, detector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from torch import Tensor

from diffect.data.batches import zeros
from diffect.data.datamodule import DataModule
from diffect.data.sample import Kind
from diffect.denoisers.base import Denoiser, Learner
from diffect.detector import Detector
from diffect.detector.anomaly_map import AnomalyMap
from diffect.detector.head import SyntheticHead
from diffect.diffusion.objective import Objective
from diffect.representations.base import Representation
from diffect.runs import record_file
from diffect.scorers.base import Scorer
from diffect.storage import checkpoints

CHECKPOINT = "checkpoint.pt"


def open_data(cfg: DictConfig) -> DataModule:
    """The data module, set up: scanned, checked, decoded, cut into fit, selection, calibration and test."""
    data: DataModule = instantiate(cfg.data)
    data.setup()
    return data


def represent(cfg: DictConfig, categories: Sequence[str], kind: Kind) -> Representation:
    """The representation of a run of these categories and this kind of samples, not yet fitted."""
    made: Representation = instantiate(cfg.representation, classes=len(categories), channels=kind.channels)
    return made


def attach_features(cfg: DictConfig, data: DataModule) -> Representation:
    """The representation, its frozen stage computed for all images (or found in the cache) and attached to the data."""
    representation = represent(cfg, data.categories, data.kind)
    here = device(cfg)
    data.attach(representation.identity, lambda images: representation.extract(images.to(here)).cpu())
    return representation


def build(
    cfg: DictConfig,
    categories: Sequence[str],
    blank: Tensor,
    representation: Representation,
    signature: str,
) -> Detector:
    """The detector for samples like the blank one (1, C, *size), which tells the shape of x0."""
    shape = tuple(representation.extract(blank.to(device(cfg))).shape[1:])
    schedule = instantiate(cfg.schedule)
    channels = representation.channels
    denoiser = instantiate(cfg.denoiser, shape=shape, classes=len(categories), channels=channels)
    scorer = instantiate(cfg.scorer, channels=channels)
    scorer.check(denoiser, *schedule.log_snr_range)  # which refuses a range that the schedule's family does not reach
    check_one_learns(denoiser, scorer)
    if cfg.get("head") is not None and blank.ndim != 4:
        raise ValueError("head=synthetic trains on defects drawn on images, and these data are none: take head=none")
    head = instantiate(cfg.get("head"), components=scorer.components, channels=sum(channels))
    return Detector(
        representation=representation,
        denoiser=denoiser,
        scorer=scorer,
        anomaly_map=_anomaly_map(cfg, scorer.components, head, len(categories)),
        objective=Objective(schedule, instantiate(cfg.weight)),
        optimisation=instantiate(cfg.training),
        categories=categories,
        seed=cfg.seed,
        signature=signature,
        replicates=cfg.evaluation.replicates,
        head=head,
    )


def check_one_learns(denoiser: Denoiser, scorer: Scorer) -> None:
    """A scorer that learns stands alone, and any other needs a denoiser."""
    name = type(scorer).__name__
    if isinstance(scorer, Learner) and not denoiser.absent:
        raise ValueError(f"the scorer {name} learns by itself: set denoiser=none, not a {type(denoiser).__name__}")
    if denoiser.absent and not isinstance(scorer, Learner):
        raise ValueError(f"denoiser=none leaves the scorer {name} nothing to judge with: choose another denoiser")


def _anomaly_map(cfg: DictConfig, components: int, head: SyntheticHead | None, classes: int) -> AnomalyMap:
    """The map of the scorer's components, and of the head's where there is one, with its weight."""
    if head is None:
        made: AnomalyMap = instantiate(cfg.anomaly_map, components=components, classes=classes)
    else:
        weights = [(1 - head.weight) / components] * components + [head.weight]
        made = instantiate(cfg.anomaly_map, components=components + 1, weights=weights, classes=classes)
    return made


def restore(folder: Path) -> tuple[DictConfig, Detector, list[float | None]]:
    """A finished run's config, its detector ready to judge, and its conformal thresholds, one for each category.

    The checkpoint is read with `weights_only`: nothing in it is executed. ValueError where the run is not finished,
    or where the checkpoint cannot be read or is not this run's.
    """
    record = record_file.read(folder / record_file.RECORD)
    if record.status != "finished":
        raise ValueError(f"the run in {folder} is {record.status}: only a finished run can score")
    cfg = DictConfig(record.config)
    path = folder / CHECKPOINT
    kept = checkpoints.read(path, f"to train the run again, delete {record_file.RECORD} beside it")
    mine, state, thresholds = kept.get("signature"), kept.get("state", {}), kept.get("thresholds", [])
    if mine != record.signature:
        raise ValueError(f"{path} belongs to run {mine}, the record beside it to run {record.signature}")
    kind = Kind(**record.splits.kind.model_dump())
    blank = zeros(kind, record.splits.canvas)
    representation = represent(cfg, record.categories, kind)
    detector = build(cfg, record.categories, blank, representation, record.signature)
    try:
        missing, unknown = detector.load_scoring_state(state)
    except RuntimeError as error:
        raise ValueError(
            f"{path} does not fit the config in {record_file.RECORD}: {str(error).splitlines()[-1].strip()}"
        ) from error
    wanted = set(detector.scoring_state())
    if unknown or wanted & set(missing):
        raise ValueError(f"{path} does not fit the config in {record_file.RECORD}: it lacks or adds some tensors")
    detector.outlines = kept["outlines"]
    detector.to(device(cfg)).eval()
    return cfg, detector, thresholds


def device(cfg: DictConfig) -> torch.device:
    """The one device of a run, the same that Lightning's Trainer takes."""
    accelerator, devices = cfg.trainer.accelerator, cfg.trainer.devices
    index = devices[0] if isinstance(devices, ListConfig) else 0
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", index)
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps", index)
    return torch.device("cpu")
