"""A denoiser of its own for each level of the representation's pyramid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffect.denoisers.base import ClosedForm


@dataclass(frozen=True)
class _Part:
    """The channels of one level of batches (x0 (B, C, h, w), label), as often as they are gone through."""

    batches: Iterable[tuple[Tensor, Tensor]]
    level: int
    channels: Sequence[int]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((x0.split(self.channels, dim=1)[self.level], label) for x0, label in self.batches)


class PerScale(nn.Module):
    """p(x0) = prod_l p_l(x0_l), l over the levels of the pyramid, each with a closed form of its own.

    Noise is independent too, so that the posterior mean is theirs side by side and log-densities add up, exactly. A
    patch that is usual at every scale then is usual, even if no training patch is like it at all scales at once: of
    stored patches as many combinations count as there are memories multiplied.

    Args:
        denoiser: called as denoiser(shape=(C_l, h, w), classes=n) for each level.
        shape: of x0, (C, h, w).
        classes: how many categories there are.
    """

    def __init__(self, denoiser: Callable[..., ClosedForm], shape: tuple[int, int, int], classes: int = 1) -> None:
        super().__init__()
        self._make, self._shape, self._classes = denoiser, shape, classes
        self.parts = nn.ModuleList()
        self.channels: list[int] = []
        self.prepare([shape[0]])

    def prepare(self, channels: Sequence[int]) -> None:
        """Make a denoiser for each level, told their channels."""
        if sum(channels) != self._shape[0]:
            raise ValueError(f"x0 has {self._shape[0]} channels, its levels are said to have {list(channels)}")
        self.channels = list(channels)
        grid = self._shape[1:]
        made: list[nn.Module] = []
        for count in channels:
            part = self._make(shape=(count, *grid), classes=self._classes)
            assert isinstance(part, nn.Module)
            made.append(part)
        self.parts = nn.ModuleList(made)

    def forward(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """x0_hat (B, C, h, w)."""
        return torch.cat([part(x, log_snr, label) for part, x in self._levels(x_t)], dim=1)

    def log_density(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """The sum of the levels' log-densities at each position, in nats: (B, h, w)."""
        return torch.stack([part.log_density(x, log_snr, label) for part, x in self._levels(x_t)]).sum(0)

    def log_normaliser(self, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """The sum of the levels' normalisers at each position: (B, h, w)."""
        parts: list[ClosedForm] = list(self.parts)  # type: ignore[arg-type]
        return torch.stack([part.log_normaliser(log_snr, label) for part in parts]).sum(0)

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit every level's denoiser on its channels of x0 (B, C, h, w)."""
        for level, part in enumerate(self.parts):
            part.fit(_Part(batches, level, self.channels))  # type: ignore[operator]

    def _levels(self, x: Tensor) -> Iterator[tuple[ClosedForm, Tensor]]:
        return zip(self.parts, x.split(self.channels, dim=1), strict=True)  # type: ignore[arg-type]
