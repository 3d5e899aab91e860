"""The detector that users hold: images of any size in, results with thresholds and p-values out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from diffect.data.batches import Batch
from diffect.data.canvas import fit_to_canvas, inside
from diffect.data.sample import Kind
from diffect.detector.calibration import Calibration
from diffect.detector.images import at_own_size, named_images, read_pixels, read_sample
from diffect.detector.predictor import Prediction, Predictor

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
    canvas_map: NDArray[np.float32]  # (*canvas), padding included
    valid: NDArray[np.bool_]  # (*canvas), False on padding

    @property
    def map(self) -> NDArray[np.float32]:
        """The anomaly map at the image's own size, interpolated anew at each call."""
        return at_own_size(self.canvas_map, self.valid, self.size)


@dataclass(frozen=True)
class ScoredBatch:
    """A batch of images with their prediction.

    `batch` is what the predictor was given, with image and valid; `photographs` read the images at their own sizes.
    """

    names: Sequence[str]
    batch: Batch
    prediction: Prediction
    sizes: Sequence[tuple[int, ...]]
    photographs: Sequence[Callable[[], NDArray[Any]]]

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
        bits: of the sensor behind 16-bit grey images, for each category.
    """

    def __init__(
        self,
        predictor: Predictor,
        categories: Sequence[str],
        calibrations: Sequence[Calibration],
        kind: Kind,
        aspect: str,
        bits: Sequence[int],
    ) -> None:
        self.predictor, self.categories, self.calibrations = predictor.eval(), list(categories), list(calibrations)
        self.kind, self.aspect, self.bits = kind, aspect, list(bits)
        self.canvas = predictor.shape[1:]  # the size that all samples are brought to

    def __call__(
        self, images: Any, category: str | None = None, batch_size: int = 16
    ) -> ImageResult | list[ImageResult]:
        """The result for one image, or a list of results for a list of images or a folder.

        Args:
            images: a file, a folder, a PIL image, an array (H, W) or (H, W, 3) of uint8 or of floating-point numbers
                in [0, 1], or a list of these; of any size. A detector of series or volumes takes arrays (*size, C) as
                its source gives them.
            category: what the images show; needed where the detector knows several. "none" scores them without any.
            batch_size: images that are scored at once; no score depends on it.
        """
        label = self.label_of(category)
        given, single = named_images(images)
        results = [one for batch in self.scored(given, label, batch_size) for one in self.results(batch)]
        return results[0] if single else results

    def label_of(self, category: str | None) -> int | None:
        """The label of a category by its name; None to score without any."""
        several = len(self.categories) > 1
        if category is None and several:
            raise ValueError(
                f"category is not set; this run holds several, say which: {', '.join(self.categories)} (or "
                f"category={NO_CATEGORY}, to score without any)"
            )
        if category is None:
            return 0
        if category == NO_CATEGORY and NO_CATEGORY not in self.categories:
            return None if several else 0
        if category not in self.categories:
            raise ValueError(
                f"category is {category}, which the run was not trained on; it knows {', '.join(self.categories)} (or "
                f"category={NO_CATEGORY}, to score without any)"
            )
        return self.categories.index(category)

    def scored(self, images: Sequence[tuple[str, Any]], label: int | None, size: int) -> Iterator[ScoredBatch]:
        """Batches of `size` of these (name, image), read and scored one after the other."""
        bits = max(self.bits) if label is None else self.bits[label]
        for start in range(0, len(images), size):
            names, given = zip(*images[start : start + size], strict=True)
            if self.kind.drawable:
                photographs = [read_pixels(image, bits) for image in given]
                fitted = [fit_to_canvas(photograph, None, self.canvas, self.aspect) for photograph in photographs]
                arrays = [array for array, _, _ in fitted]
                boxes: list[tuple[int, ...]] = [box for _, _, box in fitted]
            else:
                arrays = photographs = [read_sample(sample, self.kind, self.canvas) for sample in given]
                boxes = [(0,) * len(self.canvas) + tuple(self.canvas)] * len(arrays)
            batch: Batch = {
                "image": torch.from_numpy(np.stack(arrays)).movedim(-1, 1).contiguous(),
                "valid": torch.from_numpy(inside(self.canvas, boxes)),
            }
            if label is not None:
                batch["label"] = torch.full((len(names),), label)
            sizes = [photograph.shape[:-1] for photograph in photographs]
            yield self.score_batch(names, batch, sizes, [partial(_itself, photograph) for photograph in photographs])

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
            batch = batch | self.predictor.features(batch["image"])
        return ScoredBatch(names, batch, self.predictor.predict_batch(batch), sizes, photographs)

    def results(self, scored: ScoredBatch) -> list[ImageResult]:
        """One result for each image of a batch."""
        maps, valid = scored.prediction.map.cpu().numpy(), scored.batch["valid"].cpu().numpy()
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
                    canvas_map=maps[row],
                    valid=valid[row],
                )
            )
        return results


def _itself(photograph: NDArray[Any]) -> NDArray[Any]:
    return photograph
