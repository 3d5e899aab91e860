"""What a candidate achieves on selection normals and their synthetic defects, or, in hindsight, on the test set."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from diffect.data.batches import Batch, Loader, Passes
from diffect.data.datamodule import DataModule
from diffect.denoisers.base import Learner
from diffect.detector.module import DetectorModule
from diffect.detector.predictor import Predictor
from diffect.metrics.evaluation import ScoredImages
from diffect.training import build, fit
from diffect.training.fit import train_head
from diffect.tuning.pseudo_validation import Sheet, pseudo_figures

FOLDS = 3  # of the selection images
BATCH = 16  # maps that are made at once

Index = int  # of a candidate
Indexed = Sequence[tuple[Index, DictConfig]]


class Judge:
    """A trained detector whose scorer and head can be fitted anew on any normal images."""

    def __init__(self, predictor: Predictor, config: DictConfig, data: DataModule) -> None:
        self.predictor, self.config, self.data = predictor, config, data
        self.scorer, self.head = predictor.scorer, predictor.head

    def fit(self, held_out: Loader) -> None:
        """Fit scorer and head as a run does whose selection images are these."""
        predictor = self.predictor
        if not isinstance(self.scorer, Learner):
            predictor.scorer = copy.deepcopy(self.scorer)
            predictor.scorer.fit(predictor.denoiser, Passes(held_out, predictor.encode))
        if self.head is not None:
            predictor.head = copy.deepcopy(self.head)
            copies = self.data.synthetic("fit", self.head.copies, self.head.kinds, self.config.seed)
            train_head(predictor, self.data.fit_dataloader(), copies, held_out, self.config.seed)

    @torch.no_grad()
    def components(self, batches: Iterable[Batch]) -> Tensor:
        """(N, K, h, w), on the CPU."""
        return torch.cat([self.predictor.components(batch).cpu() for batch in batches])

    def anomaly_map(self, cfg: DictConfig) -> Any:
        """An anomaly map of the detector's components with other settings."""
        fitted = self.predictor.anomaly_map
        head = {} if self.head is None else {"weights": fitted.weights}
        return instantiate(cfg, components=fitted.scale.shape[1], **head)


def train(config: DictConfig, data: DataModule, name: str, work: Path) -> DetectorModule:
    """Train as a run does, from the same seed; goes on from `work`, where an earlier call left off or ended."""
    pl.seed_everything(config.seed, verbose=False)
    representation = build.attach_features(config, data)
    representation.fit((batch["raw"], batch["label"]) for batch in data.fit_dataloader())
    if config.get("head") is not None:  # it learns last, see `Judge.fit`
        config = config.copy()
        config.head = None
    detector = build.build(config, data.categories, data.blank(), representation, name)
    fit.fit(config, detector, data, None, work / name)
    return detector.eval()


@torch.no_grad()
def on_selection(trained: DetectorModule, candidates: Indexed, data: DataModule, tune: DictConfig) -> dict[Index, Any]:
    """Figures of candidates that share their training, from selection normals and their synthetic defects.

    The selection images are cut into FOLDS parts. Scorer, head and scale are fitted without the part that they judge,
    since a scorer looks too good on normals that it has seen.
    """
    normals = data.val_dataloader()
    copies = data.synthetic("selection", tune.copies, tune.kinds or (), tune.seed)
    count = len(data.splits["selection"])
    sheet = Sheet.of(normals, copies, tune.copies)
    found: dict[Index, Any] = {}
    for judge, group in _judges(trained, candidates, data):
        folds = []
        for fold in range(min(FOLDS, count)):
            judged = [row for row in range(count) if row % min(FOLDS, count) == fold]
            rest = normals.subset([row for row in range(count) if row not in judged])
            copied = [row * tune.copies + copy for row in judged for copy in range(tune.copies)]
            judge.fit(rest)
            parts = [judge.components(normals.subset(judged)), judge.components(copies.subset(copied))]
            rows = [*judged, *(count + row for row in copied)]
            folds.append((rows, judge.components(rest), torch.cat(parts)))
        for maps, pooled in _by_map(judge, folds, sheet.valid, group):
            found |= pseudo_figures(sheet, maps, pooled, data.categories[0], tune.replicates)
    return found


@torch.no_grad()
def on_test(trained: DetectorModule, candidates: Indexed, data: DataModule) -> dict[Index, Any]:
    """Figures of candidates that share their training, on the test set, as their own runs would have them."""
    batches = list(data.test_dataloader())
    names = ("anomalous", "mask", "valid", "has_mask")
    truth = {name: torch.cat([batch[name] for batch in batches]).numpy() for name in names}
    valid = truth["valid"]
    found: dict[Index, Any] = {}
    for judge, group in _judges(trained, candidates, data):
        judge.fit(data.val_dataloader())
        folds = [(list(range(len(valid))), judge.components(data.val_dataloader()), judge.components(batches))]
        for maps, pooled in _by_map(judge, folds, valid, group):
            for index, scores in pooled.items():
                images = ScoredImages(
                    category=data.categories[0],
                    scores=scores,
                    anomalous=truth["anomalous"],
                    maps=maps,
                    masks=truth["mask"],
                    valid=valid,
                    has_mask=truth["has_mask"],
                )
                metrics = images.evaluate(None, replicates=0).metrics
                found[index] = {name: metrics[name] for name in ("image_auroc", "pixel_aupro_30", "image_tpr_at_5fpr")}
    return found


def _judges(trained: DetectorModule, candidates: Indexed, data: DataModule) -> Iterator[tuple[Judge, Indexed]]:
    """A judge for each scorer and head, with the candidates that have them; all share what was trained."""
    groups: dict[str, list[tuple[Index, DictConfig]]] = {}
    for index, config in candidates:
        plain = OmegaConf.to_container(config, resolve=True)
        assert isinstance(plain, dict)
        groups.setdefault(repr([plain["scorer"], plain.get("head")]), []).append((index, config))
    for group in groups.values():
        config = group[0][1]
        built = build.build(config, data.categories, data.blank(), trained.predictor.representation, "tuning")
        predictor = built.predictor
        predictor.denoiser = trained.predictor.denoiser
        if isinstance(trained.predictor.scorer, Learner):
            predictor.scorer = trained.predictor.scorer
        yield Judge(predictor.to(trained.device).eval(), config, data), group


def _by_map(
    judge: Judge, folds: list[tuple[list[int], Tensor, Tensor]], valid: NDArray[np.bool_], group: Indexed
) -> Iterator[tuple[NDArray[np.float32], dict[Index, NDArray[np.float64]]]]:
    """Each set of maps once, with the scores (N,) of every candidate that pools them.

    folds: (rows of the sheet, components to calibrate on, components (n, K, h, w) of those rows).
    """
    groups: dict[str, list[tuple[Index, DictConfig]]] = {}
    for index, config in group:
        shaping = {key: value for key, value in config.anomaly_map.items() if key not in ("pool", "share")}
        groups.setdefault(repr(sorted(shaping.items())), []).append((index, config))
    inside, device = torch.from_numpy(valid), judge.predictor.device
    for same in groups.values():
        maps = torch.zeros(valid.shape)
        for rows, reference, components in folds:
            anomaly_map = judge.anomaly_map(same[0][1].anomaly_map)
            anomaly_map.calibrate([(reference, None)])
            anomaly_map.to(device)
            made = [anomaly_map.map(part.to(device), valid.shape[1:]).cpu() for part in components.split(BATCH)]
            maps[rows] = torch.cat(made)
        pooled = {
            index: judge.anomaly_map(config.anomaly_map).score(maps, inside).double().numpy() for index, config in same
        }
        yield maps.numpy(), pooled
