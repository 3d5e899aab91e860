"""Noise schedules: one strictly decreasing function log_snr(t), its inverse, and all that follows from them.

A schedule says how training distributes its samples over noise levels, no more. The loss weight (`weights.py`) and the
levels at which a test image is scored (`scorers/`) are separate settings; otherwise a comparison of schedules would
also compare these.

Everything is computed in float64: t and log_snr are small tensors, and a round trip must return t to 1e-9.
"""

from diffect.diffusion.schedules.base import CUT, EndPoints, NoiseSchedule, curves
from diffect.diffusion.schedules.families import (
    EDM,
    Cosine,
    DiscreteProduct,
    Laplace,
    Linear,
    RectifiedFlow,
    ScaledLinear,
    Shifted,
    Sigmoid,
    Uniform,
    ZeroTerminalSNR,
)

__all__ = [
    "CUT",
    "EDM",
    "Cosine",
    "DiscreteProduct",
    "EndPoints",
    "Laplace",
    "Linear",
    "NoiseSchedule",
    "RectifiedFlow",
    "ScaledLinear",
    "Shifted",
    "Sigmoid",
    "Uniform",
    "ZeroTerminalSNR",
    "curves",
]
