"""What every scorer keeps to.

A scorer yields components (B, K, h, w), one for each level or distance that it uses; `AnomalyMap` turns them into a
map at image resolution and the map into a score.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from diffect.denoisers.base import Denoiser, Learner
from diffect.diffusion.noise import ImageNoise


class Scorer(Protocol):
    """Components (B, K, h, w) of the anomaly of x0 (B, C, h, w), larger meaning less normal.

    Beyond this a scorer may have `prepare(channels)`, told the channels of each level of the representation's
    pyramid as soon as they are known; `fit(denoiser, batches)`, given the fit images (x0, label, noise) once the
    denoiser is final; and `loss`, if it learns by steps in a denoiser's place.
    """

    components: int  # K

    def check(self, denoiser: Denoiser, low: float, high: float) -> None:
        """Refuse, before any work, a denoiser that lacks what the scorer asks of it.

        One that learns by steps knows no log-SNR outside [low, high], where training takes place.
        """

    def __call__(self, denoiser: Denoiser, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor: ...


def check_levels(key: str, levels: Sequence[float]) -> None:
    """Refuse what is not a list of log-SNRs in nats."""
    if not isinstance(levels, Sequence) or not levels or any(not -20 <= level <= 20 for level in levels):
        raise ValueError(f"{key} is {levels}; it must be a list of log-SNRs between -20 and 20")


def check_reach(key: str, levels: Sequence[float], denoiser: Denoiser, low: float, high: float) -> None:
    """Refuse levels outside [low, high] for a denoiser that learns by steps; a closed form knows them all."""
    beyond = [level for level in levels if not low - 1e-6 <= level <= high + 1e-6]
    if beyond and isinstance(denoiser, Learner):
        raise ValueError(
            f"{key} asks for log-SNR {beyond[0]:g}, where the denoiser is never trained; the schedule reaches from "
            f"{low:g} to {high:g}"
        )
