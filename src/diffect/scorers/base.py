"""The contract of scorers.

A scorer gives components (B, K, *grid), one for each level or scale that it scores separately; `AnomalyMap` turns them
into a map at image resolution and the map into a score.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffect.config.description import Described, counted
from diffect.denoisers.base import Denoiser, Learner
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.process import Denoise, add_noise


@dataclass(frozen=True)
class Origin:
    """Where a component comes from.

    Args:
        log_snr: the level; None if it comes from several levels or from none.
        scale: index of the scale of the representation's pyramid; None if it comes from all of them.
        head: whether it comes from the head.
    """

    log_snr: float | None = None
    scale: int | None = None
    head: bool = False

    @property
    def name(self) -> str:
        """What a person reads."""
        if self.head:
            return "head"
        parts = [] if self.scale is None else [f"scale {self.scale + 1}"]
        parts += [] if self.log_snr is None else [f"log-SNR {self.log_snr:g}"]
        return ", ".join(parts) or "all levels"


class Scorer(nn.Module, Described, ABC):
    """Components (B, K, *grid) of the anomaly of x0 (B, C, *grid); larger means less normal.

    A scorer that learns by steps, in a denoiser's place, is a `Learner` too.

    Args:
        channels: of each scale of the representation's pyramid; they make up C.
        origins: of each component; one component from all levels and scales by default.
        levels: log-SNRs at which the denoiser is called.
        keys: of the config that set these.
    """

    def __init__(
        self,
        channels: Sequence[int],
        origins: Iterable[Origin] = (Origin(),),
        levels: Sequence[float] = (),
        keys: str = "scorer.levels",
    ) -> None:
        super().__init__()
        self.channels, self.origins = list(channels), tuple(origins)
        self.levels, self.keys = [float(level) for level in levels], keys

    @property
    def components(self) -> int:
        """K."""
        return len(self.origins)

    @abstractmethod
    def forward(self, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        """Components (B, K, *grid).

        Args:
            denoiser: the final one.
            x0: (B, C, *grid).
            label: (B,), the category of each image, or None.
            noise: of these images.
        """

    def check(self, denoiser: Denoiser, low: float, high: float) -> None:
        """Raise a ValueError, before any work, if the scorer cannot use this denoiser.

        A denoiser that learns by steps is trained on log-SNRs in [low, high] only; a closed form is exact at all.
        """
        beyond = [level for level in self.levels if not low - 1e-6 <= level <= high + 1e-6]
        if beyond and isinstance(denoiser, Learner):
            raise ValueError(
                f"{self.keys} has log-SNR {beyond[0]:g}, where the denoiser is never trained; the schedule reaches "
                f"from {low:g} to {high:g}"
            )

    def fit(self, denoiser: Denoise, batches: Iterable[tuple[Tensor, Tensor, ImageNoise]]) -> None:
        """Fit to batches of (x0, label, noise) of normal images, after the denoiser is final."""

    def reconstruct(self, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor | None:
        """x0 (B, C, *grid) as the model reconstructs it, or None if the scorer does not; arguments as in `forward`."""
        return None


def noised(x0: Tensor, level: float, draws: int, noise: ImageNoise) -> Iterator[tuple[Tensor, Tensor]]:
    """x_t (B, C, *grid) and log_snr (B,) of each noise draw at a level; for no draws once, the un-noised alpha x0."""
    log_snr = torch.full((len(x0),), level, device=x0.device)
    for draw in range(max(draws, 1)):
        eps = noise(x0, level, draw) if draws else torch.zeros_like(x0)
        yield add_noise(x0, eps, log_snr), log_snr


def noised_in_words(draws: int) -> str:
    """How often `noised` adds noise, for a description."""
    return f"averaged over {counted(draws, 'draw')} of noise" if draws else "without added noise"
