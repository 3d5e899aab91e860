"""What every scorer keeps to.

A scorer yields components (B, K, h, w), one for each level or distance that it uses; `AnomalyMap` turns them into a
map at image resolution and the map into a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from diffect.denoising import Denoiser, ImageNoise


class Scorer(Protocol):
    """Components (B, K, h, w) of the anomaly of x0 (B, C, h, w), larger meaning less normal."""

    components: int  # K

    def __call__(self, denoiser: Denoiser, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor: ...


def check_levels(key: str, levels: Sequence[float]) -> None:
    if not isinstance(levels, Sequence) or not levels or any(not -20 <= level <= 20 for level in levels):
        raise ValueError(f"{key} is {levels}; it must be a list of log-SNRs between -20 and 20")
