"""The figures of one detector on one test set: values, intervals, replicates, and why one is undefined."""

from dataclasses import dataclass, field

import numpy as np

from diffect.metrics.bootstrap import interval, resample
from diffect.metrics.conformal import CONFORMAL_METRICS, flagged_share
from diffect.metrics.curves import IMAGE_METRICS, Floats, image_metrics
from diffect.metrics.peaks import PEAK_METRICS, mean_hits, peak_hits
from diffect.metrics.pixels import PIXEL_METRICS, Bools, Maps, Pixels, pixel_metrics, resampled

METRICS = (*IMAGE_METRICS, *PIXEL_METRICS, *PEAK_METRICS, *CONFORMAL_METRICS)


@dataclass
class Evaluation:
    """Figures by name, in the order of METRICS; None where undefined, and then `undefined` says why.

    A figure may be defined and its interval not, where some resamples hold nothing to count. `intervals` are 95%
    percentile intervals over test images; replicate r of two runs over one category counts the same images.
    """

    metrics: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(METRICS))
    intervals: dict[str, tuple[float, float] | None] = field(default_factory=lambda: dict.fromkeys(METRICS))
    replicates: dict[str, list[float] | None] = field(default_factory=lambda: dict.fromkeys(METRICS))
    undefined: dict[str, str] = field(default_factory=dict)

    def put(self, values: dict[str, Floats], samples: dict[str, Floats]) -> None:
        """Enter point figures (1,) and their replicates (R,), by name; no replicates, no interval."""
        for name, value in values.items():
            self.metrics[name] = float(value[0])
            if samples[name].size:
                self.intervals[name] = interval(samples[name])
                self.replicates[name] = samples[name].tolist()

    def omit(self, names: tuple[str, ...], reason: str) -> None:
        """Say why these figures are None."""
        self.undefined |= dict.fromkeys(names, reason)


@dataclass(frozen=True)
class ScoredImages:
    """Test images of one category: scores, anomalous, has_mask (N,); maps, masks, valid (N, *size).

    Higher is more anomalous, in any unit; `valid` is False on padding; `has_mask` says whether the mask is
    known. Raises ValueError for shapes that disagree, NaN, infinity, or a defect marked in a normal image.
    """

    category: str
    scores: Floats
    anomalous: Bools
    maps: Maps
    masks: Bools
    valid: Bools
    has_mask: Bools

    def __post_init__(self) -> None:
        images, pixels = self.scores.shape, self.maps.shape
        by_image = all(array.shape == images for array in (self.anomalous, self.has_mask))
        by_pixel = all(array.shape == pixels for array in (self.masks, self.valid))
        if not (by_image and by_pixel and len(images) == 1 and len(pixels) > 1 and images == pixels[:1]):
            raise ValueError(
                "Metrics take scores, anomalous, has_mask (B,), and maps, masks, valid (B, *size),"
                f" not {images}, {self.anomalous.shape}, {self.has_mask.shape},"
                f" and {pixels}, {self.masks.shape}, {self.valid.shape}."
            )
        for name, values in (("scores", self.scores), ("maps", self.maps)):
            broken = sum(not np.isfinite(one).all() for one in values)
            if broken:
                raise ValueError(
                    f"Anomaly {name} of category '{self.category}' are NaN or infinite in {broken} of"
                    f" {len(values)} test images: look at the training loss and the scorer's levels."
                )
        marked = sum(
            bool(mask.any()) for mask, defective in zip(self.masks, self.anomalous, strict=True) if not defective
        )
        if marked:
            raise ValueError(
                f"Masks of category '{self.category}' mark defects in {marked} test images labelled normal."
            )

    def evaluate(
        self, threshold: float | None = None, replicates: int = 1000, bins: int = 2048, no_threshold: str = ""
    ) -> Evaluation:
        """All figures of METRICS.

        Resamples are drawn among normal images, defective ones with a mask, and defective ones without.

        Args:
            threshold: the conformal one; None leaves its two figures undefined.
            replicates: bootstrap resamples of the images.
            bins: at most, of the histograms that pixel replicates come from; pixel figures do not.
            no_threshold: why there is none.
        """
        result = Evaluation()
        weights = resample(self.category, np.where(self.anomalous, 1 + ~self.has_mask, 0), replicates)
        self._images(result, weights)
        self._pixels(result, weights, bins)
        self._peaks(result, weights)
        self._conformal(result, weights, threshold, no_threshold)
        return result

    def _images(self, result: Evaluation, weights: Floats) -> None:
        if self.anomalous.all() or not self.anomalous.any():
            kind = "normal" if self.anomalous.any() else "defective"
            result.omit(IMAGE_METRICS, f"the test set holds no {kind} image")
            return
        result.put(image_metrics(self.scores, self.anomalous), image_metrics(self.scores, self.anomalous, weights))

    def _pixels(self, result: Evaluation, weights: Floats, bins: int) -> None:
        pixels = Pixels.select(self.maps, self.masks, self.valid, ~self.anomalous | self.has_mask)
        if not (pixels.defect.any() and pixels.normal.any()):
            kind = "normal" if pixels.defect.any() else "defective"
            result.omit(PIXEL_METRICS, f"no {kind} pixel in test images that are normal or have a mask")
            return
        holds = [part.reshape(len(part), -1).any(axis=1) for part in (pixels.normal, pixels.defect)]
        if any((weights @ images == 0).any() for images in holds):
            result.omit(PIXEL_METRICS, "no interval: some resamples hold no normal or no defective pixel")
            weights = weights[:0]
        result.put(*resampled(pixels, weights, bins, pixel_metrics))

    def _peaks(self, result: Evaluation, weights: Floats) -> None:
        marked = self.anomalous & self.has_mask
        hits = np.full(len(marked), np.nan)
        hits[marked] = peak_hits(self.maps[marked], self.masks[marked], self.valid[marked])
        value = mean_hits(hits, np.ones((1, len(hits))))
        if np.isnan(value).any():
            result.omit(PEAK_METRICS, "no defective pixel in test images that have a mask")
            return
        samples = mean_hits(hits, weights)
        if np.isnan(samples).any():
            result.omit(PEAK_METRICS, "no interval: some resamples hold no defective image with a mask")
            samples = samples[:0]
        result.put(dict.fromkeys(PEAK_METRICS, value), dict.fromkeys(PEAK_METRICS, samples))

    def _conformal(self, result: Evaluation, weights: Floats, threshold: float | None, no_threshold: str) -> None:
        for name, kind, chosen in (
            ("conformal_fpr", "normal", ~self.anomalous),
            ("conformal_tpr", "defective", self.anomalous),
        ):
            if threshold is None:
                result.omit((name,), f"no threshold: {no_threshold}")
            elif not chosen.any():
                result.omit((name,), f"the test set holds no {kind} image")
            else:
                scores = self.scores[chosen]
                samples = flagged_share(scores, threshold, weights[:, chosen])
                result.put({name: flagged_share(scores, threshold)}, {name: samples})
