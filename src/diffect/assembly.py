"""From a composed config to the objects of a run: data, representation, denoiser, scorer, detector."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from diffect.data.datamodule import DataModule
from diffect.denoising import Objective
from diffect.detector import Detector, Optimisation
from diffect.representations import Representation


@dataclass(frozen=True)
class Assembly:
    """The data of a run and the detector for it."""

    data: DataModule
    detector: Detector


def open_data(cfg: DictConfig) -> DataModule:
    """The data module, set up: scanned, checked, decoded, cut into fit, selection, calibration and test."""
    data: DataModule = instantiate(cfg.data)
    data.setup()
    return data


def attach_features(cfg: DictConfig, data: DataModule) -> Representation:
    """The representation, its frozen stage computed for all images (or found in the cache) and attached to the data."""
    representation: Representation = instantiate(cfg.representation)
    device = _device(cfg)
    data.attach(representation.identity, lambda images: representation.extract(images.to(device)).cpu())
    return representation


def build(cfg: DictConfig, data: DataModule, representation: Representation, signature: str) -> Detector:
    """The detector; the shape of x0 is read off one item of the data."""
    first: dict[str, Any] = next(iter(data.fit_dataloader()))
    shape = tuple(first["raw"].shape[1:])
    schedule = instantiate(cfg.schedule)
    _ = schedule.log_snr_range  # a range that the family does not reach is refused here, before any work
    scorer = instantiate(cfg.scorer)
    return Detector(
        representation=representation,
        denoiser=instantiate(cfg.denoiser, shape=shape, classes=len(data.categories)),
        scorer=scorer,
        anomaly_map=instantiate(cfg.pooling, components=scorer.components),
        objective=Objective(schedule, instantiate(cfg.weight)),
        optimisation=Optimisation(
            steps=cfg.training.steps,
            learning_rate=cfg.training.learning_rate,
            weight_decay=cfg.training.weight_decay,
            warmup=cfg.training.warmup,
            ema=cfg.training.ema,
        ),
        categories=data.categories,
        seed=cfg.seed,
        signature=signature,
        replicates=cfg.evaluation.replicates,
    )


def _device(cfg: DictConfig) -> torch.device:
    """Where the frozen stage runs: the device that the trainer will take."""
    cuda = torch.cuda.is_available() and cfg.trainer.accelerator in ("auto", "gpu", "cuda")
    return torch.device("cuda" if cuda else "cpu")
