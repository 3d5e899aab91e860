"""The detector that users hold: images of any size in, results with thresholds and p-values out."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffect.data.batches import Batch
from diffect.data.canvas import IGNORED, fit_to_canvas, inside
from diffect.data.decode import Depth
from diffect.data.ignored import widened
from diffect.data.regions import Regions
from diffect.data.sample import Kind
from diffect.detector.calibration import Calibration
from diffect.detector.images import at_own_size, named_images, notes_on, read_pixels, read_sample
from diffect.detector.predictor import Prediction, Predictor
from diffect.metrics.conformal import lowest_rate

NO_CATEGORY = "none"  # as `category`: images are scored without any


@dataclass(frozen=True)
class ImageResult:
    """What a detector says about one image.

    `category` is the one that the image was scored as; None where none was given and the detector does not tell its
    categories apart, and then there is no decision. `threshold` promises a rate of false positives, see `Calibration`;
    `flagged` says whether the score is higher. `p_value` is the share of calibration images, this one included, that
    score at least as high. All three are None without calibration images enough.
    """

    name: str
    category: str | None
    score: float
    threshold: float | None
    flagged: bool | None
    p_value: float | None
    size: tuple[int, ...]  # of the image itself
    box: tuple[int, ...]  # of the image on the canvas: where it starts on each axis, then its size on each
    canvas_map: NDArray[np.float32]  # (*canvas), padding included; where the image is ignored, the least of the others
    valid: NDArray[np.bool_]  # (*canvas), False on padding and where the image is ignored
    notes: Sequence[str] = ()  # what makes the score doubtful, such as "its transparency is ignored"

    @property
    def map(self) -> NDArray[np.float32]:
        """The anomaly map at the image's own size, interpolated anew at each call."""
        return at_own_size(self.canvas_map, self.box, self.size)

    @property
    def looked_at(self) -> NDArray[np.bool_]:
        """Where the image is not ignored, at its own size."""
        return at_own_size(self.valid.astype(np.float32), self.box, self.size) > 0.5


@dataclass(frozen=True)
class ScoredBatch:
    """A batch of images with their prediction.

    `batch` is what the predictor was given, with image and valid; `photographs` read the images at their own sizes.
    `notes` are those of each image, see `ImageResult`.
    """

    names: Sequence[str]
    batch: Batch
    prediction: Prediction
    sizes: Sequence[tuple[int, ...]]
    photographs: Sequence[Callable[[], NDArray[Any]]]
    notes: Sequence[Sequence[str]]

    @property
    def labels(self) -> list[int | None]:
        """The category that each image was scored as, given or not."""
        label = self.prediction.label
        return [None] * len(self.names) if label is None else list(label.tolist())


class Detector:
    """Scores images with a trained detector: `detector(image)`; `diffect.load` makes one of a finished run.

    Args:
        predictor: trained and calibrated.
        categories: in the order of their labels.
        calibrations: one for each category.
        kind: of the samples that it was trained on.
        aspect: how images are fitted into the canvas, see `fit_to_canvas`.
        depths: which values of images with more than 8 bits are black and white, for each category.
        regions: that are looked at, or ignored, in every image.
    """

    def __init__(
        self,
        predictor: Predictor,
        categories: Sequence[str],
        calibrations: Sequence[Calibration],
        kind: Kind,
        aspect: str,
        depths: Sequence[Depth],
        regions: Regions,
    ) -> None:
        self.predictor, self.categories, self.calibrations = predictor.eval(), list(categories), list(calibrations)
        self.kind, self.aspect, self.depths, self.regions = kind, aspect, list(depths), regions
        self.own_regions = True  # whether the predictor was trained with these regions
        self.canvas = predictor.shape[1:]  # the size that all samples are brought to

    def __call__(
        self, images: Any, category: str | None = None, batch_size: int = 16
    ) -> ImageResult | list[ImageResult]:
        """The result for one image, or a list of results for a list of images or a folder.

        Args:
            images: a file, a folder, a PIL image, an array (H, W) or (H, W, 3) of uint8 or of floating-point numbers
                in [0, 1], or a list of these; of any size. A detector of series or volumes takes arrays (*size, C) as
                its source gives them.
            category: what the images show; needed where the detector knows several. "none" stands for the likeliest
                one, and for no category where the detector cannot tell them apart.
            batch_size: images that are scored at once; no score depends on it.

        Raises:
            ValueError: an image cannot be read. Of a folder the others are scored, and a warning names those.
        """
        label = self.label_of(category)
        given, single = named_images(images)
        unreadable: dict[str, str] | None = {} if isinstance(images, str | Path) and not single else None
        results = [one for batch in self.scored(given, label, batch_size, unreadable) for one in self.results(batch)]
        if unreadable:
            said = f"{len(unreadable)} of {len(given)} images not scored: {'; '.join(unreadable.values())}"
            if not results:
                raise ValueError(said)
            warnings.warn(said, stacklevel=2)
        return results[0] if single else results

    def decide_by(self, threshold: float | None = None, rate: float | None = None) -> None:
        """From now on decide by a threshold of scores and maps, or by another promised rate of false positives.

        None of both leaves the run's thresholds. ValueError for both, or for a rate that the calibration images, being
        too few, cannot promise.
        """
        if threshold is not None and rate is not None:
            raise ValueError(f"threshold is {threshold:g} and rate is {rate:g}; give one of them")
        if threshold is not None:
            self.calibrations = [replace(one, given=threshold) for one in self.calibrations]
        if rate is not None:
            self.calibrations = [replace(one, rate=rate) for one in self.calibrations]
            for category, one in zip(self.categories, self.calibrations, strict=True):
                if one.threshold is None:
                    cure = f"take rate={lowest_rate(len(one.scores)):g}" if one.scores else "give a threshold="
                    raise ValueError(f"rate is {rate:g}, but of {category} {one.shortfall}; {cure}")

    def look_at(self, regions: Regions) -> None:
        """From now on look at other regions of images than those that the run was trained with.

        Cells near an ignored region are then ignored too, see `data.ignored.widened`.
        """
        self.own_regions = self.own_regions and regions == self.regions
        self.regions = regions

    def label_of(self, category: str | None) -> int | None:
        """The label of a category by its name; None to score without any."""
        several = len(self.categories) > 1
        if category is None and several:
            raise ValueError(
                f"category is not set, and this run has several: {', '.join(self.categories)}; give one of them, or "
                f"category={NO_CATEGORY} for the likeliest"
            )
        if category is None:
            return 0
        if category == NO_CATEGORY and NO_CATEGORY not in self.categories:
            return None if several else 0
        if category not in self.categories:
            raise ValueError(
                f"category is {category}, which the run was not trained on; give one of {', '.join(self.categories)}, "
                f"or category={NO_CATEGORY} for the likeliest"
            )
        return self.categories.index(category)

    def scored(
        self,
        images: Sequence[tuple[str, Any]],
        label: int | None,
        size: int,
        unreadable: dict[str, str] | None = None,
    ) -> Iterator[ScoredBatch]:
        """Batches of `size` of these (name, image), read and scored one after the other.

        Args:
            images: as `named_images` gives them.
            label: of all of them, or None.
            size: of a batch.
            unreadable: takes the names of images that cannot be read, with why; without it the first one raises.
        """
        for start in range(0, len(images), size):
            read: list[tuple[str, Any, NDArray[Any]]] = []
            for name, image in images[start : start + size]:
                try:
                    read.append((name, image, self._read(image, label)))
                except ValueError as error:
                    if unreadable is None:
                        raise
                    unreadable[name] = str(error)
            if read:
                yield self._scored(read, label)

    def _read(self, image: Any, label: int | None) -> NDArray[Any]:
        """The array (*size, C) of an image, at its own size, or of another sample."""
        if not self.kind.drawable:
            return read_sample(image, self.kind, self.canvas)
        depth = max(self.depths, key=lambda depth: depth.bits) if label is None else self.depths[label]
        return read_pixels(image, depth)

    def _scored(self, read: Sequence[tuple[str, Any, NDArray[Any]]], label: int | None) -> ScoredBatch:
        """The batch of these names, images and their arrays."""
        placed = [self._placed(name, array, label) for name, _, array in read]
        arrays, masks, boxes = (list(part) for part in zip(*placed, strict=True))
        batch: Batch = {
            "image": torch.from_numpy(np.stack(arrays)).movedim(-1, 1).contiguous(),
            "valid": torch.from_numpy(inside(self.canvas, boxes) & (np.stack(masks) != IGNORED)),
            "ignored": torch.from_numpy(np.stack(masks) == IGNORED),
            "box": torch.tensor(boxes),
        }
        if label is not None:
            batch["label"] = torch.full((len(read),), label)
        names, images, photographs = zip(*read, strict=True)
        sizes = [array.shape[:-1] for array in photographs]
        scored = self.score_batch(names, batch, sizes, [partial(_itself, array) for array in photographs])
        if not self.kind.drawable:
            return scored
        each = zip(images, sizes, boxes, strict=True)
        return replace(scored, notes=[notes_on(image, size, box, self.canvas) for image, size, box in each])

    def _placed(
        self, name: str, array: NDArray[Any], label: int | None
    ) -> tuple[NDArray[Any], NDArray[Any], tuple[int, ...]]:
        """An image on the canvas, where it is ignored, and the box that it fills; see `fit_to_canvas`."""
        if not self.kind.drawable:
            return array, np.zeros(self.canvas), (*[0] * len(self.canvas), *self.canvas)
        region = self.regions.of(None if label is None else self.categories[label], name, array.shape[:2])
        return fit_to_canvas(array, None, self.canvas, self.aspect, region)

    @torch.no_grad()
    def score_batch(
        self,
        names: Sequence[str],
        batch: Batch,
        sizes: Sequence[tuple[int, ...]],
        photographs: Sequence[Callable[[], NDArray[Any]]],
    ) -> ScoredBatch:
        """Score a batch with image and valid, with label if there is one, and with raw and key or without."""
        if "raw" not in batch:
            batch = batch | self.predictor.features(batch["image"], batch["ignored"])
        if not self.own_regions:
            batch = batch | {"raw": widened(batch["raw"])}
        return ScoredBatch(names, batch, self.predictor.predict_batch(batch), sizes, photographs, [()] * len(names))

    def results(self, scored: ScoredBatch) -> list[ImageResult]:
        """One result for each image of a batch."""
        maps, valid = scored.prediction.map.cpu().numpy(), scored.batch["valid"].cpu().numpy()
        boxes = scored.batch["box"].tolist()
        results = []
        for row, (name, label) in enumerate(zip(scored.names, scored.labels, strict=True)):
            score = float(scored.prediction.score[row])
            calibration = None if label is None else self.calibrations[label]
            results.append(
                ImageResult(
                    name=name,
                    category=None if label is None else self.categories[label],
                    score=score,
                    threshold=None if calibration is None else calibration.threshold,
                    flagged=None if calibration is None else calibration.flagged(score),
                    p_value=None if calibration is None else calibration.p_value(score),
                    size=scored.sizes[row],
                    box=tuple(boxes[row]),
                    canvas_map=_without_ignored(maps[row], valid[row], boxes[row]),
                    valid=valid[row],
                    notes=scored.notes[row],
                )
            )
        return results


def _without_ignored(values: NDArray[np.float32], valid: NDArray[np.bool_], box: Sequence[int]) -> NDArray[np.float32]:
    """The map (*canvas), where the image is ignored as low as its lowest other value."""
    (whole,) = inside(values.shape, [box])
    return np.where(whole & ~valid, values[valid].min(), values)


def _itself(photograph: NDArray[Any]) -> NDArray[Any]:
    return photograph
