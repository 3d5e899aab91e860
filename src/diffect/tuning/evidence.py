"""What a candidate achieves on selection normals and their synthetic defects, or, in hindsight, on the test set."""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from diffect.data.batches import Batch, Loader, Passes
from diffect.data.datamodule import DataModule
from diffect.denoisers.base import Learner
from diffect.detector.calibration import scaling_batches
from diffect.detector.module import DetectorModule
from diffect.metrics.curves import Floats
from diffect.metrics.evaluation import ScoredImages
from diffect.metrics.pixels import Bools, Maps
from diffect.training import build, fit
from diffect.training.fit import train_head
from diffect.tuning.pseudo_validation import Sheet, pseudo_figures
from diffect.tuning.record import FIGURES

FOLDS = 3  # of the selection images
BATCH = 16  # maps that are made at once

Index = int  # of a candidate
Indexed = Sequence[tuple[Index, DictConfig]]
# The rows of all images that are scored, normal images to fit scorer and head on, those to scale components on, and
# loaders of those rows.
Fold = tuple[list[int], Loader, Iterable[Batch], list[Loader]]
Pooled = dict[Index, Floats]  # the scores (N,) of each candidate


class Rescorer:
    """A trained detector with the scorer and the head of a config, which can be fitted again on any normal images."""

    def __init__(self, trained: DetectorModule, config: DictConfig, data: DataModule) -> None:
        representation = trained.predictor.representation
        predictor = build.build(config, data.categories, data.blank(), representation, "tuning").predictor
        predictor.denoiser = trained.predictor.denoiser
        if isinstance(trained.predictor.scorer, Learner):
            predictor.scorer = trained.predictor.scorer
        self.predictor, self.config, self.data = predictor.to(trained.device).eval(), config, data
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

    def components(self, batches: Iterable[Batch]) -> Tensor:
        """(N, K, h, w), on the CPU."""
        return torch.cat([self.predictor.components(batch).cpu() for batch in batches])

    def anomaly_map(self, cfg: DictConfig) -> Any:
        """An anomaly map of the detector's components with other settings."""
        fitted = self.predictor.anomaly_map
        head = {} if self.head is None else {"weights": fitted.weights}
        return instantiate(cfg, components=fitted.scale.shape[1], view=fitted.view, **head)


def train(config: DictConfig, data: DataModule, name: str, work: Path) -> DetectorModule:
    """Train as a run does, from the same seed; continues what an earlier call has left in `work`.

    Args:
        config: of a run on one category.
        data: of that category.
        name: names what is trained, see `training_name`.
        work: folder for checkpoints.
    """
    pl.seed_everything(config.seed, verbose=False)
    representation = build.attach_features(config, data)
    representation.fit(data.fit_features())
    if config.get("head") is not None:  # it learns last, see `Rescorer.fit`
        config = config.copy()
        config.head = None
    detector = build.build(config, data.categories, data.blank(), representation, name)
    fit.fit(config, detector, data, None, work / name)
    return detector.eval()


def on_selection(trained: DetectorModule, candidates: Indexed, data: DataModule, tune: DictConfig) -> dict[Index, Any]:
    """Figures of candidates that share their training, from selection normals and their synthetic defects.

    The selection images are cut into FOLDS parts. Scorer, head and scale are fitted without the part that is scored,
    since a scorer looks too good on normals that it has seen.
    """
    normals, count = data.val_dataloader(), len(data.splits["selection"])
    copies = data.synthetic("selection", tune.copies, tune.kinds or (), tune.seed)
    folds = []
    for fold in range(min(FOLDS, count)):
        scored = [row for row in range(count) if row % min(FOLDS, count) == fold]
        rest = [row for row in range(count) if row not in scored]
        copied = [row * tune.copies + copy for row in scored for copy in range(tune.copies)]
        rows = [*scored, *(count + row for row in copied)]
        others = normals.subset(rest)
        folds.append((rows, others, others, [normals.subset(scored), copies.subset(copied)]))
    sheet = Sheet.of(normals, copies, tune.copies)
    figures = partial(pseudo_figures, sheet, category=data.categories[0], replicates=tune.replicates)
    return _figures(trained, candidates, data, folds, sheet.valid, figures)


def on_test(trained: DetectorModule, candidates: Indexed, data: DataModule) -> dict[Index, Any]:
    """Figures of candidates that share their training, on the test set, as their own runs would have them."""
    loader = data.test_dataloader()
    truth = [[batch[name] for name in ("anomalous", "mask", "valid", "has_mask")] for batch in loader]
    anomalous, masks, valid, has_mask = (torch.cat(parts).numpy() for parts in zip(*truth, strict=True))

    def figures(maps: Maps, pooled: Pooled) -> dict[Index, Any]:
        by_candidate = {}
        for index, scores in pooled.items():
            images = ScoredImages(data.categories[0], scores, anomalous, maps, masks, valid, has_mask)
            metrics = images.evaluate(None, replicates=0).metrics
            by_candidate[index] = {name: metrics[name] for name in FIGURES}
        return by_candidate

    scaled_on = list(scaling_batches(trained.predictor, data))
    folds = [(list(range(len(valid))), data.val_dataloader(), scaled_on, [loader])]
    return _figures(trained, candidates, data, folds, valid, figures)


@torch.no_grad()
def _figures(
    trained: DetectorModule,
    candidates: Indexed,
    data: DataModule,
    folds: Sequence[Fold],
    valid: Bools,
    figures: Callable[[Maps, Pooled], dict[Index, Any]],
) -> dict[Index, Any]:
    """What `figures` says of each candidate's maps (N, H, W) and scores (N,) of the images of all folds."""
    results: dict[Index, Any] = {}
    for group in _grouped(candidates, ("scorer", "head")):
        rescorer, parts = Rescorer(trained, group[0][1], data), []
        for rows, held_out, scaled_on, scored in folds:
            rescorer.fit(held_out)
            components = torch.cat([rescorer.components(loader) for loader in scored])
            parts.append((rows, rescorer.components(scaled_on), components))
        for same in _grouped(group, ("anomaly_map",), without=("pool", "share")):
            results |= figures(*_maps_and_scores(rescorer, parts, valid, same))
    return results


def _maps_and_scores(
    rescorer: Rescorer, parts: Sequence[tuple[list[int], Tensor, Tensor]], valid: Bools, group: Indexed
) -> tuple[Maps, Pooled]:
    """The maps (N, H, W) that candidates share, which differ in pooling alone, and the scores (N,) of each.

    parts: (rows, components to calibrate on, components (n, K, h, w) of those rows).
    """
    maps, device = torch.zeros(valid.shape), rescorer.predictor.device
    for rows, reference, components in parts:
        anomaly_map = rescorer.anomaly_map(group[0][1].anomaly_map)
        anomaly_map.calibrate([(reference, None)])
        anomaly_map.to(device)
        parts_of_maps = [anomaly_map.map(part.to(device), valid.shape[1:]).cpu() for part in components.split(BATCH)]
        maps[rows] = torch.cat(parts_of_maps)
    inside = torch.from_numpy(valid)
    scores = {i: rescorer.anomaly_map(one.anomaly_map).score(maps, inside).double().numpy() for i, one in group}
    return maps.numpy(), scores


def _grouped(candidates: Indexed, keys: Sequence[str], without: Sequence[str] = ()) -> list[Indexed]:
    """The candidates that agree in these parts of the config, but for some settings, together."""
    groups: dict[str, list[tuple[Index, DictConfig]]] = {}
    for index, config in candidates:
        parts = [OmegaConf.to_container(config[key], resolve=True) if config.get(key) else {} for key in keys]
        shared = [{name: value for name, value in part.items() if name not in without} for part in parts]  # type: ignore
        groups.setdefault(repr(shared), []).append((index, config))
    return list(groups.values())
