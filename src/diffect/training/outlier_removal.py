"""Outlier removal: leaves out training images that a model of the other images explains badly."""

from typing import Annotated

import numpy as np
import torch
from annotated_types import Ge
from hydra.errors import InstantiationException
from numpy.typing import NDArray
from omegaconf import DictConfig

from diffect.config.check import checked
from diffect.config.description import enumerated
from diffect.config.types import PositiveFloat
from diffect.data.batches import Row
from diffect.data.datamodule import DataModule
from diffect.data.folds import fewest_groups, without_folds
from diffect.data.splits import Split
from diffect.denoisers.base import ClosedForm
from diffect.detector import calibration
from diffect.detector.module import DetectorModule
from diffect.errors import sentence
from diffect.representations.base import Representation
from diffect.runs import record
from diffect.training import build

LEAST = 3  # groups of images of a category: two are equally far from their median, |z| = 1 / 1.4826


@checked
class OutlierRemoval:
    """Removes outliers from the fit and selection images of each category, and from calibration if asked to.

    Each image gets a score s from a closed form that is fitted to the other folds. With m the median of log s and d its
    median absolute deviation, an image is removed if

        log s - m > threshold 1.4826 d,

    the modified z-score (Iglewicz & Hoaglin 1993). It hardly changes if less than half of the images are defective.
    Errors are nearly log-normal, hence the logarithm.

    Calibration images stay by default. If outliers among them are removed, the promised rate of false positives holds
    for images like those that were kept, and is no longer guaranteed by conformal prediction. If they are defective and
    stay, the threshold rises to the scores of defects.

    Args:
        denoiser, scorer: configs of the closed form and of its scorer, independent of what is trained afterwards.
        threshold: see above; a higher one removes fewer images.
        folds: at most this many; each is scored by a model that is fitted to the others.
        calibration: whether outliers are removed from the calibration images too.
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

    def describe(self) -> str:
        """Which images are removed, for reports."""
        return (
            f"images of {enumerated(self.splits)} with a modified z-score of log score above {self.threshold:g}, by a "
            "closed form fitted to the other images"
        )

    def clean(self, cfg: DictConfig, data: DataModule, representation: Representation) -> record.OutlierRemoval:
        """Remove outliers from the splits, fit the representation again, and return what was removed.

        Raises ValueError if a category has too few images, or if `denoiser` is no closed form.
        """
        category, groups = fewest_groups(data, self.splits)
        if groups < LEAST:
            raise ValueError(
                f"outlier_removal=z_score needs {LEAST} groups of normal images or more of each category in "
                f"{enumerated(self.splits)}, and {category} has {groups}: take more, or outlier_removal=none"
            )
        detector = self._detector(cfg, data, representation)
        views = without_folds(data, self.splits, min(self.folds, groups))
        folds = [(view, _left_out(detector, view)) for view in views]
        predictor, scores = detector.predictor, dict[Row, float]()
        predictor.anomaly_map.calibrate(part for _, parts in folds for part in parts)
        for view, parts in folds:
            pairs = zip(parts, view.normal_dataloader("calibration"), strict=True)
            batches = [predictor.combine(part, batch["valid"], label).score for (part, label), batch in pairs]
            scores |= zip(view.splits["calibration"], torch.cat(batches).tolist(), strict=True)
        removed = self._remove(data, scores)
        representation.fit(data.fit_features())
        return removed

    def _detector(self, cfg: DictConfig, data: DataModule, representation: Representation) -> DetectorModule:
        config = cfg.copy()
        config.denoiser, config.scorer, config.head = self.denoiser, self.scorer, None
        try:
            detector = build.build(config, data.categories, data.blank(), representation, "outlier_removal")
        except (ValueError, InstantiationException) as error:
            raise ValueError(
                f"outlier_removal=z_score scores with outlier_removal.denoiser and "
                f"outlier_removal.scorer: {sentence(error)}"
            ) from error
        if not isinstance(detector.predictor.denoiser, ClosedForm):
            raise ValueError(
                "outlier_removal.denoiser learns by steps; it must be a closed form, such as "
                "denoiser@outlier_removal.denoiser=empirical_per_scale"
            )
        return detector.to(build.device(cfg)).eval()

    def _remove(self, data: DataModule, scores: dict[Row, float]) -> record.OutlierRemoval:
        """Remove the outliers, from the score of each image."""
        dropped: dict[str, list[record.Dropped]] = {category: [] for category in data.categories}
        removed: dict[Split, list[int]] = {split: [] for split in self.splits}
        for category in data.categories:
            images = [image for image in scores if _category(data, image) == category]
            deviations = modified_z(np.array([scores[image] for image in images]))
            for image, z in zip(images, deviations.tolist(), strict=True):
                if z > self.threshold:
                    split = next(split for split in self.splits if image in data.splits[split])
                    sample = data.sample(*image)
                    outlier = record.Dropped(name=sample.name, defect=sample.defect, split=split, z=z)
                    dropped[category].append(outlier)
                    removed[split].append(data.splits[split].index(image))
        for split, positions in removed.items():
            data.drop(split, positions)
        return record.OutlierRemoval(splits=list(self.splits), scored=len(scores), dropped=dropped)


def _left_out(detector: DetectorModule, data: DataModule) -> list[calibration.Labelled]:
    """Components and labels of the images that a fold leaves out, by the closed form fitted to the others."""
    detector.solve(data.fit_dataloader(), None)
    return calibration.labelled_components(detector.predictor, data.normal_dataloader("calibration"))


def _category(data: DataModule, image: Row) -> str:
    return data.categories[data.parts[image[0]].label]


def modified_z(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(log s - median) / (1.4826 MAD) of positive scores (N,); 0 where more than half of them are equal."""
    from scipy.stats import median_abs_deviation

    logs = np.log(np.maximum(scores, 1e-12))
    spread = median_abs_deviation(logs, scale=1 / 1.4826)
    return (logs - np.median(logs)) / spread if spread > 0 else np.zeros_like(logs)
