"""Calibration on normal images that were not fitted to: the scale of components, and thresholds of scores and maps."""

import bisect
import copy
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from torch import Tensor

from diffect.data.batches import Batch
from diffect.data.datamodule import DataModule
from diffect.data.folds import fewest_groups, originals, without_folds
from diffect.data.splits import Split
from diffect.denoisers.base import ClosedForm
from diffect.detector.anomaly_map import AnomalyMap
from diffect.detector.predictor import Predictor
from diffect.metrics.conformal import conformal_threshold, shortfall

FOLDS = 5  # where the config does not say how many; each costs one more fit
ENOUGH = 200  # calibration images of each category, to which out-of-fold scores would add little
FEW = 8  # normal images of a category to scale components on; with fewer, copies are added
KINDS, COPIES = ("shift", "zoom"), 8  # of each of these

Refit = Callable[[DataModule, int], Predictor]  # fits a predictor to the data without the fold of this number
Labelled = tuple[Tensor, Tensor]  # components (B, K, *grid) and labels (B,)


@dataclass(frozen=True)
class Calibration:
    """Scores and map peaks of a category's normal images that were not fitted to, and the thresholds that follow.

    If they are n images of the calibration split, a new normal image exceeds `threshold` with probability at most
    `rate` (split conformal prediction, Vovk et al. 2005). If out-of-fold scores are among them, and if a new image were
    scored by the fits of all K folds, this probability would be at most 2 rate + sqrt(2 / n), and is about `rate` in
    practice (cross-conformal prediction, Vovk 2015; CV+, Barber et al. 2021, theorem 4). One detector scores it here:
    then it is about `rate` where leaving out a fold hardly moves the scores of other images (section 5 there), and
    below it where folds of fewer images fit worse; there is no bound for the worst case.

    These are means over data sets. Images of a group are counted one by one: the fewer groups, the further the rate of
    one data set can lie from its mean. Both thresholds are None where n is too small for the rate.

    Args:
        scores: of these images, in ascending order.
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

    @property
    def shortfall(self) -> str:
        """Why there is no threshold, and which rate can be promised; "" where there is one."""
        return shortfall(len(self.scores), self.rate) if self.threshold is None else ""

    def flagged(self, score: float) -> bool | None:
        """Whether an image of this score is flagged; None without a threshold."""
        return None if self.threshold is None else score > self.threshold

    def p_value(self, score: float) -> float | None:
        """(1 + number of calibration scores >= score) / (n + 1): the conformal p-value of the image being normal.

        None without calibration images.
        """
        count = len(self.scores)
        return (1 + count - bisect.bisect_left(self.scores, score)) / (count + 1) if count else None


@dataclass(frozen=True)
class Fold:
    """What a predictor that was fitted without the images of a fold says of them.

    Args:
        data: without the fold, whose images are the calibration split.
        left_out: components and labels of each batch of these.
        reference: the same of images to scale the map on.
        separate: whether these are other images than those left out; else they are those and copies of them, and a
            fold's map is scaled on those of the other folds.
    """

    data: DataModule
    left_out: list[Labelled]
    reference: list[Labelled]
    separate: bool


def number_of_folds(predictor: Predictor, data: DataModule, asked: int | None) -> int:
    """How many folds the fit images are cut into; 0 for none.

    As many as are asked for. By default FOLDS, or as many as there are groups, for what is solved at once, and none for
    what is trained by steps, the head included, or where each category has ENOUGH calibration images.
    """
    category, groups = fewest_groups(data, ["fit"])
    if asked is not None:
        if asked > groups:
            raise ValueError(
                f"evaluation.folds is {asked}, but category {category} has {groups} groups of images to fit to: take "
                "at most as many, or null"
            )
        return asked
    if _scaled_on(predictor, data):
        trained = predictor.head is not None or not isinstance(predictor.denoiser, ClosedForm)
        if trained or _fewest(data, "calibration", len(data.categories)) >= ENOUGH:
            return 0
    return min(FOLDS, groups) if groups > 1 else 0


def cross_fit(predictor: Predictor, data: DataModule, refit: Refit, number: int) -> list[Fold]:
    """Fit without each of `number` folds of the fit images, and score the images that are left out.

    Features are not computed again. Beside the fits it costs one more scoring of the fit images, and of the selection
    images for each fold. The predictor need not be fitted.
    """
    split, few = _scaled_on(predictor, data), _few(predictor, data)

    def left_out(view: DataModule, fitted: Predictor) -> Fold:
        scored = labelled_components(fitted, view.normal_dataloader("calibration"))
        reference = labelled_components(fitted, _with_copies(view, split or "calibration", few))
        return Fold(view, scored, reference, split is not None)

    logging.disable(logging.WARNING)  # the fit to all images warns as well
    try:
        views = without_folds(data, ["fit"], number) if number else []
        return [left_out(view, refit(view, fold)) for fold, view in enumerate(views)]
    finally:
        logging.disable(logging.NOTSET)


def calibrate(predictor: Predictor, data: DataModule, folds: Sequence[Fold] = ()) -> str:
    """Fit the scale of the components on normal images that the denoiser was not fitted to; returns which, in words.

    These are the selection images. Without one, or without one of each category that has a separate scale, they are the
    fit images. A closed form that is fitted to an image explains it too well, since it stores its patches: so each fit
    image is scored by a fit to other folds. To fewer than `FEW` images copies are added, slightly shifted and rescaled,
    so that the border correction does not rest on these few. Images of a single group are replaced by their copies.
    What was trained by steps has seen the fit images under noise only, and is calibrated on them.

    Args:
        predictor: fitted; its anomaly map is calibrated.
        data: that it was fitted to.
        folds: see `cross_fit`; a closed form without selection images needs them.
    """
    split, few = _scaled_on(predictor, data), _few(predictor, data)
    joined = f" and {COPIES} copies of each ({', '.join(KINDS)})" if few else ""
    if split:
        predictor.anomaly_map.calibrate(labelled_components(predictor, _with_copies(data, split, few)))
        return f"the {split} normals{joined}"
    if folds:
        predictor.anomaly_map.calibrate(part for fold in folds for part in fold.reference)
        return f"the fit normals{joined}, each scored by a fit to the others"
    copies = data.augmented("fit", KINDS, COPIES, data.seed)
    predictor.anomaly_map.calibrate(labelled_components(predictor, copies))
    return f"copies of the fit normals ({', '.join(KINDS)}), scored by the fit to the images themselves"


def scaling_batches(predictor: Predictor, data: DataModule) -> Iterable[Batch]:
    """The selection images that scale components, with copies of them where they are few, see `calibrate`."""
    return _with_copies(data, "selection", _few(predictor, data))


@torch.no_grad()
def calibrations(
    predictor: Predictor, batches: Iterable[Batch], count: int, rate: float, folds: Sequence[Fold] = ()
) -> list[Calibration]:
    """Scores and map peaks of each category's normal images that were not fitted to, scored with their labels.

    These are the calibration images, and the images that the folds leave out. The map of a fold is scaled by the fold's
    fit, so that a fit to fewer images, whose errors are larger, does not score higher for that.

    Args:
        predictor: calibrated.
        batches: of the calibration images; can be iterated repeatedly.
        count: how many categories there are.
        rate: the promised false-positive rate.
        folds: see `cross_fit`.
    """
    rows = _scored(predictor.anomaly_map, labelled_components(predictor, batches), batches)
    for fold in folds:
        references = [fold] if fold.separate else [other for other in folds if other is not fold]
        anomaly_map = copy.deepcopy(predictor.anomaly_map)
        anomaly_map.calibrate(part for one in references for part in one.reference)
        rows += _scored(anomaly_map, fold.left_out, fold.data.normal_dataloader("calibration"))
    by_label = [[row for row in rows if row[0] == label] for label in range(count)]
    return [
        Calibration(sorted(score for _, score, _ in own), sorted(peak for _, _, peak in own), rate) for own in by_label
    ]


def _scored(
    anomaly_map: AnomalyMap, parts: Sequence[Labelled], batches: Iterable[Batch]
) -> list[tuple[int, float, float]]:
    """Label, score, and the highest value of the map without padding, of each image of these batches."""
    rows: list[tuple[int, float, float]] = []
    for (components, label), batch in zip(parts, batches, strict=True):
        valid = batch["valid"].to(components.device)
        maps = anomaly_map.map(components, valid.shape[1:], label)
        peaks = maps.masked_fill(~valid, -torch.inf).flatten(1).amax(1)
        rows += zip(label.tolist(), anomaly_map.score(maps, valid).tolist(), peaks.tolist(), strict=True)
    return rows


@torch.no_grad()
def labelled_components(predictor: Predictor, batches: Iterable[Batch]) -> list[Labelled]:
    """Components of each batch and its labels, on the predictor's device."""
    predictor.eval()
    return [(predictor.components(batch), batch["label"].to(predictor.device)) for batch in batches]


def _scaled_on(predictor: Predictor, data: DataModule) -> Split | None:
    """The split whose images scale components, see `calibrate`; None where a closed form was fitted to all of them."""
    if _fewest(data, "selection", predictor.anomaly_map.groups):
        return "selection"
    return None if isinstance(predictor.denoiser, ClosedForm) else "fit"


def _few(predictor: Predictor, data: DataModule) -> bool:
    """Whether the images that scale components are so few that copies join them."""
    split = _scaled_on(predictor, data) or "fit"
    return data.kind.drawable and _fewest(data, split, predictor.anomaly_map.groups) < FEW


def _fewest(data: DataModule, split: Split, groups: int) -> int:
    """How many images, without copies, a split has of the category with the fewest, or in all for a single group."""
    labels = [data.parts[data.splits[split][position][0]].label for position in originals(data, split)]
    return len(labels) if groups == 1 else min(map(labels.count, range(groups)))


def _with_copies(data: DataModule, split: Split, few: bool) -> Iterable[Batch]:
    """The images of a split without the copies that training adds, and new copies of them where they are few."""
    images = data.normal_dataloader(split, originals(data, split))
    return chain(images, data.augmented(split, KINDS, COPIES, data.seed)) if few else images
