"""Calibration on held-out normal images: the scale of components, and the thresholds of scores and maps."""

import bisect
import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from diffect.data.batches import Batch, Passes
from diffect.data.datamodule import DataModule
from diffect.data.splits import Split
from diffect.denoisers.base import ClosedForm
from diffect.detector.predictor import Predictor
from diffect.metrics.conformal import conformal_threshold

FOLDS = 8  # at most; more folds cost more fits, each closer to the fit on all images
FEW = 8  # normal images of a category to calibrate on; with fewer, copies are added
KINDS, COPIES = ("shift", "zoom"), 8  # of each


@dataclass(frozen=True)
class Calibration:
    """The scores and map peaks of one category's calibration images, and the thresholds that follow from them.

    With n calibration images, all normal, a new normal image exceeds `threshold` with probability at most `rate`
    (split conformal prediction, Vovk et al. 2005). Both thresholds are None where n is too small for the rate.

    Args:
        scores: of the calibration images, in ascending order.
        peaks: the highest value of each image's map, padding excluded, in ascending order.
        rate: the promised false-positive rate.
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
def calibrations(predictor: Predictor, batches: Iterable[Batch], categories: int, rate: float) -> list[Calibration]:
    """The calibration of each category's scores and maps on its calibration images, scored with their labels.

    Args:
        predictor: whose components are scaled, see `calibrate`.
        batches: of the calibration images.
        categories: how many there are.
        rate: the promised false-positive rate.
    """
    predictor.eval()
    scores: list[list[float]] = [[] for _ in range(categories)]
    peaks: list[list[float]] = [[] for _ in range(categories)]
    for batch in batches:
        prediction = predictor.predict_batch(batch)
        highest = prediction.map.masked_fill(~batch["valid"].to(prediction.map.device), -torch.inf).flatten(1).amax(1)
        rows = zip(batch["label"].tolist(), prediction.score.tolist(), highest.tolist(), strict=True)
        for label, score, peak in rows:
            scores[label].append(score)
            peaks[label].append(peak)
    return [Calibration(sorted(one), sorted(two), rate) for one, two in zip(scores, peaks, strict=True)]


@dataclass(frozen=True)
class Joined:
    """Several loaders, one after the other; can be iterated repeatedly."""

    loaders: Sequence[Iterable[Batch]]

    def __iter__(self) -> Iterator[Batch]:
        return chain.from_iterable(self.loaders)


@dataclass(frozen=True)
class Fold:
    """Images that are left out of a fit, the rest, and the (split, position) of those left out, in order."""

    rest: Joined
    left_out: Joined
    positions: list[tuple[Split, int]]


def folds(data: DataModule, splits: Sequence[Split], most: int = FOLDS) -> list[Fold]:
    """Folds, `most` at most, that leave out every image of these splits once, with all its copies.

    Each fold holds images of every category, so there are no more folds than a category has images; ValueError where
    one has a single image only.
    """
    by_label: list[list[tuple[Split, int]]] = [[] for _ in data.categories]
    for split in splits:
        for position in real(data, split):
            by_label[_label(data, split, position)].append((split, position))
    counts = [len(pairs) for pairs in by_label]
    number = min(most, *counts)
    if number < 2:
        category = data.categories[counts.index(min(counts))]
        raise ValueError(f"category {category} has one normal image, so that no other is left to fit to")
    turns = {pair: turn % number for pairs in by_label for turn, pair in enumerate(pairs)}
    fold_of = {(split, i): turns[split, origin] for split in splits for i, origin in enumerate(data.origins(split))}
    all_folds = []
    for turn in range(number):
        left_out = [pair for pair, fold in fold_of.items() if fold == turn]
        rest = [pair for pair, fold in fold_of.items() if fold != turn]
        all_folds.append(Fold(_loaders(data, rest), _loaders(data, left_out), left_out))
    return all_folds


def calibrate(predictor: Predictor, data: DataModule) -> str:
    """Fit the scale of the components on normal images that the denoiser was not fitted to; returns which, in words.

    These are the selection images. Without one, or without one of each category that has a separate scale, they are the
    fit images. A closed form that is fitted to an image explains it too well, since it stores its patches: so each fit
    image is scored by a fit to the others. To fewer than `FEW` images copies are added, slightly shifted and rescaled,
    so that the border correction does not rest on these few. A single image is replaced by its copies. What was trained
    by steps has seen the fit images under noise only, and is calibrated on them.
    """
    groups = predictor.anomaly_map.groups
    split: Split = "selection" if _fewest(data, "selection", groups) else "fit"
    given, few = real(data, split), data.kind.drawable and _fewest(data, split, groups) < FEW
    joined = f" and {COPIES} copies of each ({', '.join(KINDS)})" if few else ""
    if split == "selection" or not isinstance(predictor.denoiser, ClosedForm):
        predictor.anomaly_map.calibrate(labelled_components(predictor, _joined(data, split, given, few)))
        return f"the {split} normals{joined}"
    if _fewest(data, split, len(data.categories)) > 1:
        pairs: list[tuple[Iterable[Batch], Iterable[Batch]]] = [
            (fold.rest, _joined(data, split, [position for _, position in fold.positions if position in given], few))
            for fold in folds(data, [split])
        ]
        used = f"the fit normals{joined}, each scored by a fit to the others"
    else:
        pairs = [(data.normal_dataloader(split, given), data.augmented(split, KINDS, COPIES, data.seed))]
        used = f"copies of the fit normals ({', '.join(KINDS)}), scored by the fit to the images themselves"
    predictor.anomaly_map.calibrate(part for pair in pairs for part in components_without(predictor, *pair))
    return used


@torch.no_grad()
def components_without(
    predictor: Predictor, rest: Iterable[Batch], left_out: Iterable[Batch]
) -> list[tuple[Tensor, Tensor]]:
    """Components and labels of the batches of `left_out`, by a closed form that is fitted to those of `rest` alone."""
    fitted, again = predictor.denoiser, copy.deepcopy(predictor.denoiser)
    assert isinstance(again, ClosedForm)
    predictor.denoiser = again
    try:
        again.fit(Passes(rest, lambda batch: predictor.encode(batch)[:2]))
        return labelled_components(predictor, left_out)
    finally:
        predictor.denoiser = fitted


@torch.no_grad()
def labelled_components(predictor: Predictor, batches: Iterable[Batch]) -> list[tuple[Tensor, Tensor]]:
    """Components of each batch and its labels, on the predictor's device."""
    predictor.eval()
    return [(predictor.components(batch), batch["label"].to(predictor.device)) for batch in batches]


def _fewest(data: DataModule, split: Split, groups: int) -> int:
    """How many images, without copies, a split has of the category with the fewest, or in all for a single group."""
    labels = [_label(data, split, position) for position in real(data, split)]
    return len(labels) if groups == 1 else min(map(labels.count, range(groups)))


def _joined(data: DataModule, split: Split, positions: Sequence[int], few: bool) -> Joined:
    """The images at these positions, and new copies of them where they are few."""
    loaders = [data.normal_dataloader(split, positions)]
    if few:
        loaders.append(data.augmented(split, KINDS, COPIES, data.seed, positions))
    return Joined(loaders)


def real(data: DataModule, split: Split) -> list[int]:
    """Positions of the images themselves, without the copies of them that training adds."""
    return [position for position, origin in enumerate(data.origins(split)) if position == origin]


def _label(data: DataModule, split: Split, position: int) -> int:
    part, _ = data.splits[split][position]
    return data.parts[part].label


def _loaders(data: DataModule, pairs: Sequence[tuple[Split, int]]) -> Joined:
    by_split: dict[Split, list[int]] = {}
    for split, position in pairs:
        by_split.setdefault(split, []).append(position)
    return Joined([data.normal_dataloader(split, positions) for split, positions in by_split.items()])
