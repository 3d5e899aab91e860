"""What is found on held-out normal images: the scale of components, and the thresholds of scores and maps."""

from __future__ import annotations

import bisect
import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from diffect.data.batches import Batch, Passes
from diffect.data.datamodule import DataModule
from diffect.data.splits import Split
from diffect.detector.module import DetectorModule
from diffect.detector.predictor import Predictor
from diffect.metrics.conformal import conformal_threshold

FOLDS = 8  # at most: more fits, each nearer to that of all images
FEW = 8  # normal images of a category to calibrate on; fewer are joined by copies
KINDS, COPIES = ("shift", "zoom"), 8  # of each


@dataclass(frozen=True)
class Calibration:
    """What the calibration images of one category say about scores and maps.

    With n calibration images, all normal, a new normal image exceeds `threshold` with probability at most `rate`
    (split conformal prediction, Vovk et al. 2005). Both thresholds are None where n is too small for the rate.

    Args:
        scores: of the calibration images, in ascending order.
        peaks: the highest value of each image's map, padding excluded, in ascending order.
        rate: the promised share of false positives.
        given: a threshold of scores and maps that replaces both, and promises nothing; or None.
    """

    scores: Sequence[float]
    peaks: Sequence[float]
    rate: float
    given: float | None = None

    @property
    def promised(self) -> float | None:
        """The rate that both thresholds promise, or None."""
        return self.rate if self.given is None else None

    @property
    def threshold(self) -> float | None:
        """An image is flagged if its score is higher."""
        return conformal_threshold(self.scores, self.rate) if self.given is None else self.given

    @property
    def outline(self) -> float | None:
        """A pixel is outlined if its value in the map is higher."""
        return conformal_threshold(self.peaks, self.rate) if self.given is None else self.given

    def flagged(self, score: float) -> bool | None:
        """Whether an image of this score is flagged; None without a threshold."""
        return None if self.threshold is None else score > self.threshold

    def p_value(self, score: float) -> float | None:
        """(1 + number of calibration scores >= score) / (n + 1): the conformal p-value of the image being normal.

        None without calibration images.
        """
        count = len(self.scores)
        return (1 + count - bisect.bisect_left(self.scores, score)) / (count + 1) if count else None


@torch.no_grad()
def set_thresholds(detector: DetectorModule, batches: Iterable[Batch], rate: float) -> list[Calibration]:
    """Calibrate scores and maps of each category on batches of its calibration images, scored with their labels."""
    detector.eval()
    scores: list[list[float]] = [[] for _ in detector.categories]
    peaks: list[list[float]] = [[] for _ in detector.categories]
    for batch in batches:
        prediction = detector.predictor.predict_batch(batch)
        highest = prediction.map.masked_fill(~batch["valid"].to(prediction.map.device), -torch.inf).flatten(1).amax(1)
        rows = zip(batch["label"].tolist(), prediction.score.tolist(), highest.tolist(), strict=True)
        for label, score, peak in rows:
            scores[label].append(score)
            peaks[label].append(peak)
    pairs = zip(scores, peaks, strict=True)
    detector.calibrations = [Calibration(sorted(one), sorted(other), rate) for one, other in pairs]
    detector.tally.set_thresholds([one.threshold for one in detector.calibrations])
    return detector.calibrations


@dataclass(frozen=True)
class Joined:
    """Several loaders, one after the other; can be iterated repeatedly."""

    loaders: Sequence[Iterable[Batch]]

    def __iter__(self) -> Iterator[Batch]:
        return chain.from_iterable(self.loaders)


@dataclass(frozen=True)
class Fold:
    """Images that are left out of a fit, the others, and the (split, position) of those left out, in order."""

    rest: Joined
    left_out: Joined
    positions: list[tuple[Split, int]]


def folds(data: DataModule, splits: Sequence[Split], most: int = FOLDS) -> list[Fold]:
    """Every image of these splits is left out once, with all its copies, `most` folds or fewer.

    Each fold holds images of every category, so there are no more folds than a category has images; ValueError where
    one has a single image only.
    """
    origins = {split: data.origins(split) for split in splits}
    turns: dict[tuple[Split, int], int] = {}
    counts = [0] * len(data.categories)
    for split in splits:
        for position in real(data, split):
            label = _label(data, split, position)
            turns[split, position] = counts[label]
            counts[label] += 1
    number = min(most, *counts)
    if number < 2:
        category = data.categories[counts.index(min(counts))]
        raise ValueError(f"category {category} has one normal image, so that no other is left to fit to")
    made = []
    for turn in range(number):
        left_out: dict[Split, list[int]] = {split: [] for split in splits}
        rest: dict[Split, list[int]] = {split: [] for split in splits}
        for split in splits:
            for position, origin in enumerate(origins[split]):
                in_fold = turns[split, origin] % number == turn
                (left_out if in_fold else rest)[split].append(position)
        positions = [(split, position) for split in splits for position in left_out[split]]
        made.append(Fold(_loaders(data, rest), _loaders(data, left_out), positions))
    return made


def calibrate(detector: DetectorModule, data: DataModule) -> str:
    """Find the scale of the components on normal images that the denoiser was not fitted to; says on which.

    Where no image was held out, or none of a category that has a scale of its own, an image that a closed form was
    fitted to would tell nothing: it finds its own patches again. Such an image is judged by what was fitted to the
    other fit images. Fewer than `FEW` images are joined by copies, slightly shifted and rescaled, so that the border
    correction does not rest on these few alone. A single image is replaced by its copies, judged by what was fitted to
    it. What was trained by steps has seen the fit images under noise only, and is calibrated on them.
    """
    predictor = detector.predictor
    groups = predictor.anomaly_map.groups
    split: Split = "selection" if _fewest(data, "selection", groups) else "fit"
    given, few = real(data, split), data.kind.drawable and _fewest(data, split, groups) < FEW
    joined = f" and {COPIES} copies of each ({', '.join(KINDS)})" if few else ""
    if split == "selection" or not detector.solves:
        predictor.anomaly_map.calibrate(labelled_components(predictor, _joined(data, split, given, few)))
        return f"the {split} normals{joined}"
    if _fewest(data, split, len(data.categories)) > 1:
        pairs: list[tuple[Iterable[Batch], Iterable[Batch]]] = [
            (fold.rest, _joined(data, split, [position for _, position in fold.positions if position in given], few))
            for fold in folds(data, [split])
        ]
        used = f"the fit normals{joined}, each judged by what was fitted without it"
    else:
        pairs = [(data.normal_dataloader(split, given), data.augmented(split, KINDS, COPIES, data.seed))]
        used = f"copies of the fit normals ({', '.join(KINDS)}), judged by what was fitted to the images themselves"
    predictor.anomaly_map.calibrate(part for pair in pairs for part in components_without(predictor, *pair))
    return used


@torch.no_grad()
def components_without(
    predictor: Predictor, rest: Iterable[Batch], left_out: Iterable[Batch]
) -> list[tuple[Tensor, Tensor]]:
    """Components and labels of the batches of `left_out`, by a closed form that is fitted to those of `rest` alone."""
    predictor.eval()
    fitted, again = predictor.denoiser, copy.deepcopy(predictor.denoiser)
    closed_form: Any = again
    predictor.denoiser = again
    try:
        closed_form.fit(Passes(rest, lambda batch: predictor.encode(batch)[:2]))
        return labelled_components(predictor, left_out)
    finally:
        predictor.denoiser = fitted


@torch.no_grad()
def labelled_components(predictor: Predictor, batches: Iterable[Batch]) -> list[tuple[Tensor, Tensor]]:
    """Components of each batch and its labels, on the predictor's device."""
    predictor.eval()
    return [(predictor.components(batch), batch["label"].to(predictor.device)) for batch in batches]


def _fewest(data: DataModule, split: Split, groups: int) -> int:
    """How many images, not counting copies, a split holds of the category that has the fewest, or of all as one."""
    labels = [_label(data, split, position) for position in real(data, split)]
    return len(labels) if groups == 1 else min(map(labels.count, range(groups)))


def _joined(data: DataModule, split: Split, positions: Sequence[int], few: bool) -> Joined:
    """The images at these positions, and where they are few fresh copies of them."""
    loaders = [data.normal_dataloader(split, positions)]
    if few:
        loaders.append(data.augmented(split, KINDS, COPIES, data.seed, positions))
    return Joined(loaders)


def real(data: DataModule, split: Split) -> list[int]:
    """Positions of the images themselves, without the copies made for training, which stay with their image."""
    return [position for position, origin in enumerate(data.origins(split)) if position == origin]


def _label(data: DataModule, split: Split, position: int) -> int:
    part, _ = data.splits[split][position]
    return data.parts[part].label


def _loaders(data: DataModule, positions: dict[Split, list[int]]) -> Joined:
    return Joined([data.normal_dataloader(split, held) for split, held in positions.items() if held])
