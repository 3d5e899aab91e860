"""What a candidate achieves on selection normals and their synthetic defects, or, in hindsight, on the test set."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from diffect import assembly, fitting
from diffect.data.batches import Batch
from diffect.data.datamodule import DataModule
from diffect.denoising import ImageNoise, Learner
from diffect.detector import Detector, Passes
from diffect.metrics.evaluation import ScoredImages
from diffect.tuning.pseudo import Sheet, pseudo_figures

FOLDS = 3  # of the selection images
BATCH = 16  # maps that are made at once

Index = int  # of a candidate
Indexed = Sequence[tuple[Index, DictConfig]]


@dataclass
class Trained:
    """A detector whose training is done, ready to judge with any scorer."""

    detector: Detector

    @property
    def denoiser(self) -> Any:
        """As it judges, with averaged weights where it has them."""
        averaged = self.detector.averaged
        return self.detector.denoiser if averaged is None or self.learned_scorer is not None else averaged.module

    @property
    def learned_scorer(self) -> Any:
        """The scorer as it judges, where it learned by steps; else None."""
        averaged, scorer = self.detector.averaged, self.detector.scorer
        return averaged.module if averaged is not None and isinstance(scorer, Learner) else None

    def inputs(self, batch: Batch) -> tuple[Tensor, Tensor, ImageNoise]:
        """x0, label and noise of a batch, as the detector makes them."""
        device = self.detector.device
        x0 = self.detector.representation.encode(batch["raw"].to(device))
        return x0, batch["label"].to(device), ImageNoise(self.detector.seed, batch["key"].to(device))

    @torch.no_grad()
    def components(self, scorer: Any, batches: Iterable[Batch]) -> Tensor:
        """(N, K, h, w), on the CPU."""
        return torch.cat([scorer(self.denoiser, *self.inputs(batch)).cpu() for batch in batches])

    @torch.no_grad()
    def fitted(self, scorer: Any, batches: Iterable[Batch]) -> Any:
        """A copy of the scorer, fitted on these batches if it can be."""
        fresh = copy.deepcopy(scorer).to(self.detector.device).eval()
        if hasattr(fresh, "fit") and scorer is not self.learned_scorer:
            fresh.fit(self.denoiser, Passes(batches, self.inputs))
        return fresh


def train(config: DictConfig, data: DataModule, name: str, work: Path) -> Trained:
    """Train as a run does, from the same seed; goes on from `work`, where an earlier call left off or ended."""
    pl.seed_everything(config.seed, verbose=False)
    representation = assembly.attach_features(config, data)
    representation.fit(batch["raw"] for batch in data.fit_dataloader())
    detector = assembly.build(config, data.categories, data.canvas, representation, name)
    fitting.fit(config, detector, data, False, work / name)
    return Trained(detector.eval())


def on_selection(trained: Trained, candidates: Indexed, data: DataModule, tune: DictConfig) -> dict[Index, Any]:
    """Figures of candidates that share their training, from selection normals and their synthetic defects.

    Scorer and scale are fitted on other selection images than those they judge (a third, with its copies): a scorer
    that has seen the very normals which it judges would look better than it is.
    """
    normals = data.val_dataloader()
    copies = data.synthetic("selection", tune.copies, tune.kinds or (), tune.seed)
    count = len(data.splits["selection"])
    sheet = Sheet.of(normals, copies, tune.copies)
    found: dict[Index, Any] = {}
    for scorer, group in _by_scorer(trained, candidates, data):
        folds = []
        for fold in range(min(FOLDS, count)):
            held = [row for row in range(count) if row % min(FOLDS, count) == fold]
            rest = [row for row in range(count) if row not in held]
            fitted = trained.fitted(scorer, _subset(normals, rest))
            mine = trained.components(fitted, _subset(normals, held))
            theirs = trained.components(fitted, _subset(copies, _copies_of(held, tune.copies)))
            places = [*held, *(count + place for place in _copies_of(held, tune.copies))]
            scale = trained.components(fitted, _subset(normals, rest))
            folds.append((places, scale, torch.cat([mine, theirs])))
        for maps, pooled in _by_map(folds, sheet.valid, group, trained.detector.device):
            found |= pseudo_figures(sheet, maps, pooled, data.categories[0], tune.replicates)
    return found


def on_test(trained: Trained, candidates: Indexed, data: DataModule) -> dict[Index, Any]:
    """Figures of candidates that share their training, on the test set, as runs of theirs would find them."""
    batches = list(data.test_dataloader())
    told = {name: torch.cat([batch[name] for batch in batches]) for name in batches[0] if name not in ("raw", "image")}
    valid = told["valid"].numpy()
    found: dict[Index, Any] = {}
    for scorer, group in _by_scorer(trained, candidates, data):
        fitted = trained.fitted(scorer, data.val_dataloader())
        scale = trained.components(fitted, data.val_dataloader())
        folds = [(list(range(len(valid))), scale, trained.components(fitted, batches))]
        for maps, pooled in _by_map(folds, valid, group, trained.detector.device):
            for index, scores in pooled.items():
                images = ScoredImages(
                    data.categories[0],
                    scores,
                    *(told["anomalous"].numpy(), maps),
                    *(told[name].numpy() for name in ("mask", "valid", "has_mask")),
                )
                metrics = images.evaluate(None, replicates=0).metrics
                found[index] = {name: metrics[name] for name in ("image_auroc", "pixel_aupro_30", "image_tpr_at_5fpr")}
    return found


def _by_scorer(trained: Trained, candidates: Indexed, data: DataModule) -> Iterator[tuple[Any, Indexed]]:
    """Each scorer once, not yet fitted, with the candidates that have it."""
    groups: dict[str, list[tuple[Index, DictConfig]]] = {}
    for index, config in candidates:
        groups.setdefault(OmegaConf.to_yaml(config.scorer, resolve=True), []).append((index, config))
    for group in groups.values():
        representation = trained.detector.representation
        built = assembly.build(group[0][1], data.categories, data.canvas, representation, "tuning")
        yield trained.learned_scorer or built.scorer, group


def _by_map(
    folds: list[tuple[list[int], Tensor, Tensor]], valid: NDArray[np.bool_], group: Indexed, device: torch.device
) -> Iterator[tuple[NDArray[np.float32], dict[Index, NDArray[np.float64]]]]:
    """Each set of maps once, with the scores (N,) of every candidate that pools them.

    folds: (places in the sheet, components to find the scale on, components (n, K, h, w) of those places).
    """
    groups: dict[str, list[tuple[Index, DictConfig]]] = {}
    for index, config in group:
        shaping = {key: value for key, value in config.pooling.items() if key not in ("pool", "share")}
        groups.setdefault(repr(sorted(shaping.items())), []).append((index, config))
    inside = torch.from_numpy(valid)
    for same in groups.values():
        maps = torch.zeros(valid.shape)
        for places, scale, components in folds:
            anomaly_map = instantiate(same[0][1].pooling, components=components.shape[1])
            anomaly_map.calibrate([scale])
            anomaly_map.to(device)
            made = [anomaly_map.map(part.to(device), valid.shape[1:]).cpu() for part in components.split(BATCH)]
            maps[places] = torch.cat(made)
        pooled = {
            index: instantiate(config.pooling, components=1).score(maps, inside).double().numpy()
            for index, config in same
        }
        yield maps.numpy(), pooled


def _copies_of(rows: Iterable[int], copies: int) -> list[int]:
    return [row * copies + copy for row in rows for copy in range(copies)]


def _subset(loader: DataLoader[Batch], positions: Sequence[int]) -> DataLoader[Batch]:
    subset: Subset[Any] = Subset(loader.dataset, positions)
    return DataLoader(subset, batch_size=loader.batch_size, collate_fn=loader.collate_fn)
