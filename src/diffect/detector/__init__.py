"""Representation, denoiser, scorer, map and head as one detector: how it learns, judges, and is tested."""

from diffect.data.batches import Passes
from diffect.detector.module import Detector
from diffect.detector.prediction import Judgement

__all__ = ["Detector", "Judgement", "Passes"]
