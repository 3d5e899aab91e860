"""Outlier removal: training images that a model of the others explains badly are left out."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from annotated_types import Ge
from hydra.errors import InstantiationException
from numpy.typing import NDArray
from omegaconf import DictConfig

from diffect.config.check import checked
from diffect.config.types import PositiveFloat
from diffect.data.datamodule import DataModule
from diffect.data.splits import Split
from diffect.detector import calibration
from diffect.detector.module import DetectorModule
from diffect.errors import sentence
from diffect.representations.base import Representation
from diffect.training import build

LEAST = 3  # images of a category: of two, both are as far from their median, |z| = 1 / 1.4826, and none stands out
_NORMAL = 1.4826  # standard deviations of a Gaussian in its median absolute deviation


@checked
class OutlierRemoval:
    """Leaves out the images of fit and selection, or of calibration too, whose score stands out, category by category.

    Each image gets the score s that a closed form gives it that was fitted to the other folds of these images. With m
    the median of log s and d its median absolute deviation an image goes if

        log s - m > threshold 1.4826 d,

    the modified z-score (Iglewicz & Hoaglin 1993), which dirt on less than half of the images hardly moves. Ratios of
    errors are near log-normal, which is why logarithms are taken.

    Calibration images stay unless told otherwise: they promise a rate of false positives for whatever comes like them.
    Where the odd ones go, the promise is one for parts like those that were kept, and no longer of conformal
    prediction; where they are dirt and stay, the threshold rises to the defects'.

    Args:
        denoiser, scorer: configs of the closed form that judges, and of how; whatever is trained afterwards.
        threshold: see above; the higher, the fewer images go.
        folds: at most; each fits to all but one of them.
        calibration: whether calibration images are judged and left out like the others.
    """

    def __init__(
        self,
        denoiser: DictConfig,
        scorer: DictConfig,
        threshold: PositiveFloat = 3.0,
        folds: Annotated[int, Ge(2)] = 4,
        calibration: bool = False,
    ) -> None:
        self.denoiser, self.scorer, self.threshold, self.folds = denoiser, scorer, threshold, folds
        self.splits: tuple[Split, ...] = ("fit", "selection", *(("calibration",) if calibration else ()))

    def clean(self, cfg: DictConfig, data: DataModule, representation: Representation) -> dict[str, Any]:
        """Drop the images from their splits and fit the representation anew; tells the rule and what was dropped.

        ValueError where a category has too few images for one to stand out, or where the judge is no closed form.
        """
        self._check_enough(data)
        judge = self._judge(cfg, data, representation).predictor
        held = calibration.folds(data, self.splits, self.folds)
        given = {(split, position) for split in self.splits for position in calibration.real(data, split)}
        components = [calibration.components_without(judge, fold.rest, fold.left_out) for fold in held]
        judge.anomaly_map.calibrate(part for parts in components for part in parts)
        found: dict[tuple[Split, int], float] = {}
        for fold, parts in zip(held, components, strict=True):
            pairs = zip(parts, fold.left_out, strict=True)
            scores = [judge.combine(part, batch["valid"], label).score for (part, label), batch in pairs]
            scored = zip(fold.positions, torch.cat(scores).tolist(), strict=True)
            found.update((place, score) for place, score in scored if place in given)
        told = self._drop(data, found)
        representation.fit((batch["raw"], batch["label"]) for batch in data.fit_dataloader())
        return told

    def _check_enough(self, data: DataModule) -> None:
        held = [_category(data, split, place) for split in self.splits for place in calibration.real(data, split)]
        for category in data.categories:
            count = held.count(category)
            if count < LEAST:
                raise ValueError(
                    f"outlier_removal=z_score needs {LEAST} normal images or more of each category in "
                    f"{' and '.join(self.splits)}, as none of fewer can stand out from the others, and {category} has "
                    f"{count}: take more, or outlier_removal=none"
                )

    def _judge(self, cfg: DictConfig, data: DataModule, representation: Representation) -> DetectorModule:
        own = cfg.copy()
        own.denoiser, own.scorer, own.head = self.denoiser, self.scorer, None
        try:
            judge = build.build(own, data.categories, data.blank(), representation, "outlier_removal")
        except (ValueError, InstantiationException) as error:
            raise ValueError(
                f"outlier_removal=z_score judges by outlier_removal.denoiser and "
                f"outlier_removal.scorer: {sentence(error)}"
            ) from error
        if not judge.solves:
            raise ValueError(
                "outlier_removal.denoiser learns by steps; it must be a closed form, such as "
                "denoiser@outlier_removal.denoiser=empirical_per_scale"
            )
        return judge.to(build.device(cfg)).eval()

    def _drop(self, data: DataModule, found: dict[tuple[Split, int], float]) -> dict[str, Any]:
        """From the score of every image, by split and position."""
        dropped: dict[str, list[dict[str, Any]]] = {category: [] for category in data.categories}
        gone: dict[Split, list[int]] = {split: [] for split in self.splits}
        for category in data.categories:
            places = [place for place in found if _category(data, *place) == category]
            deviations = modified_z(np.array([found[place] for place in places]))
            for (split, position), z in zip(places, deviations.tolist(), strict=True):
                if z > self.threshold:
                    sample = data.sample(*data.splits[split][position])
                    dropped[category].append({"name": sample.name, "defect": sample.defect, "split": split, "z": z})
                    gone[split].append(position)
        for split, positions in gone.items():
            data.drop(split, positions)
        rule = f"modified z-score of log score above {self.threshold:g}, by a closed form fitted to the other images"
        return {"rule": rule, "splits": list(self.splits), "judged": len(found), "dropped": dropped}


def _category(data: DataModule, split: Split, position: int) -> str:
    part, _ = data.splits[split][position]
    return data.categories[data.parts[part].label]


def modified_z(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(log s - median) / (1.4826 MAD) of positive scores (N,); 0 where more than half of them are equal."""
    logs = np.log(np.maximum(scores, 1e-12))
    off = logs - np.median(logs)
    spread = _NORMAL * np.median(np.abs(off))
    return off / spread if spread > 0 else np.zeros_like(off)
