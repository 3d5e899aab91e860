"""The contracts of denoisers: what maps x_t to x0_hat, what learns by steps, what is solved at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, runtime_checkable

from torch import Tensor

from diffect.diffusion.objective import TrainingNoise


class Denoiser(Protocol):
    """x0_hat (B, C, h, w) from x_t (B, C, h, w), log_snr (B,) and the class label (B,), or None for no label."""

    def __call__(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor: ...


@runtime_checkable
class Learner(Protocol):
    """What learns by steps: its loss (B,) on x0 (B, C, h, w), label (B,) and one draw of the objective."""

    def loss(self, x0: Tensor, label: Tensor | None, noise: TrainingNoise) -> Tensor: ...


@runtime_checkable
class ClosedForm(Denoiser, Protocol):
    """A denoiser that is solved at once: the exact posterior mean under a density of x0 that it has fitted.

    `fit` may go through the batches (x0 (B, C, h, w), label (B,)) several times. `log_density` is log p(x_t) in nats
    at each position (B, h, w), `log_normaliser` that part of it which does not depend on x_t: the rest, times -2, is
    a squared distance in units of the noise.
    """

    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None: ...

    def log_density(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor: ...

    def log_normaliser(self, log_snr: Tensor, label: Tensor | None) -> Tensor: ...
