"""What normal images of a category hardly ever exceed, by score and by pixel."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from diffect.detector.judgement import Judgement
from diffect.metrics.conformal import conformal_threshold

Thresholds = list[float | None]  # by category; None where its images are too few for the promise


def conformal_thresholds(
    judged: Iterable[tuple[Judgement, Tensor]], categories: int, rate: float
) -> tuple[Thresholds, Thresholds]:
    """Of scores, and of peaks: at most a share `rate` of normal images has a higher score, or a pixel above.

    From normal images, judged with their labels, and valid (B, S, S), false on padding, where no peak counts.
    """
    scores: list[list[float]] = [[] for _ in range(categories)]
    peaks: list[list[float]] = [[] for _ in range(categories)]
    for found, valid in judged:
        assert found.label is not None
        highest = found.maps.masked_fill(~valid, -torch.inf).amax((1, 2))
        for label, score, peak in zip(found.label.tolist(), found.scores.tolist(), highest.tolist(), strict=True):
            scores[label].append(score)
            peaks[label].append(peak)
    of_scores, of_peaks = ([conformal_threshold(own, rate) for own in values] for values in (scores, peaks))
    return of_scores, of_peaks
