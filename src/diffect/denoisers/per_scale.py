"""A separate denoiser for each scale of the representation's pyramid."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from diffect.config.check import checked
from diffect.config.types import PositiveInt, Supplied
from diffect.denoisers.base import ClosedForm


@dataclass(frozen=True)
class _Part:
    """The channels of one scale of batches (x0 (B, C, *grid), label); can be iterated over repeatedly."""

    batches: Iterable[tuple[Tensor, Tensor]]
    scale: int
    channels: Sequence[int]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return ((x0.split(self.channels, dim=1)[self.scale], label) for x0, label in self.batches)


@checked
class PerScale(ClosedForm):
    """p(x0) = prod_l p_l(x0_l), l over the scales of the pyramid, with one closed form for each scale.

    The noise is independent too, so posterior means are concatenated and log-densities add up, exactly. A patch that is
    usual at every scale is then usual, even if no training patch resembles it at all scales at once: stored patches of
    different scales are combined freely.

    Args:
        denoiser: called as denoiser(shape=(C_l, *grid), classes=n) for each scale.
        shape, classes, channels: see `Denoiser`.
    """

    def __init__(
        self,
        denoiser: Callable[..., ClosedForm],
        shape: Supplied[Sequence[int]],
        classes: Supplied[PositiveInt] = 1,
        channels: Supplied[Sequence[int] | None] = None,
    ) -> None:
        super().__init__(shape, classes, channels)
        self.parts = nn.ModuleList(denoiser(shape=(size, *self.grid), classes=classes) for size in self.channels)

    def describe(self) -> str:
        (first, *_) = self._parts()
        return f"one closed form for each scale of the pyramid, the scales taken as independent: {first.describe()}"

    def forward(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """x0_hat (B, C, *grid)."""
        return torch.cat([part(x, log_snr, label) for part, x in self._scales(x_t)], dim=1)

    def log_density(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """The sum of the scales' log-densities at each position, in nats: (B, *grid)."""
        return torch.stack([part.log_density(x, log_snr, label) for part, x in self._scales(x_t)]).sum(0)

    def log_normaliser(self, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """The sum of the scales' normalisers at each position: (B, *grid)."""
        return torch.stack([part.log_normaliser(log_snr, label) for part in self._parts()]).sum(0)

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fit the denoiser of every scale on its channels of x0 (B, C, *grid)."""
        for scale, part in enumerate(self._parts()):
            part.fit(_Part(batches, scale, self.channels))

    def _parts(self) -> list[ClosedForm]:
        return list(self.parts)  # type: ignore[arg-type]

    def _scales(self, x: Tensor) -> Iterator[tuple[ClosedForm, Tensor]]:
        return zip(self._parts(), x.split(self.channels, dim=1), strict=True)
