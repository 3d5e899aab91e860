"""Representation, denoiser, scorer, map and head as one detector: how it learns, judges, and is tested."""

from diffect.detector.judgement import Judgement
from diffect.detector.module import Detector
from diffect.detector.passes import Passes

__all__ = ["Detector", "Judgement", "Passes"]
