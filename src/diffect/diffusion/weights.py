"""Loss weights w(log_snr), on the eps error ||eps - eps_hat||^2, for every prediction of the network.

The other losses of the literature are weights on it, because
||x0 - x0_hat||^2 = e^(-log_snr) ||eps - eps_hat||^2 and ||v - v_hat||^2 = ||eps - eps_hat||^2 / alpha^2.
With t uniform the expected loss depends only on the product p(log_snr) w(log_snr).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffect.config.check import checked
from diffect.config.description import Described
from diffect.config.types import PositiveFloat
from diffect.diffusion.schedules import NoiseSchedule, curves


class LossWeight(Described, ABC):
    """w(log_snr), the weight on the eps error."""

    @abstractmethod
    def __call__(self, log_snr: Tensor, schedule: NoiseSchedule) -> Tensor:
        """w, same shape as log_snr, float64, non-negative."""


@dataclass(frozen=True)
class Eps(LossWeight):
    """w = 1: the plain eps loss (Ho et al. 2020, eq. 14)."""

    def __call__(self, log_snr: Tensor, schedule: NoiseSchedule) -> Tensor:
        return torch.ones_like(log_snr)

    def describe(self) -> str:
        return "w = 1, the plain noise loss [@ho2020ddpm]"


@dataclass(frozen=True)
class X0(LossWeight):
    """w = 1 / SNR: the plain x0 loss."""

    def __call__(self, log_snr: Tensor, schedule: NoiseSchedule) -> Tensor:
        return torch.exp(-log_snr)

    def describe(self) -> str:
        return "w = 1/SNR, the plain loss on the clean input"


@dataclass(frozen=True)
class V(LossWeight):
    """w = 1 / alpha^2: the plain v loss (Salimans & Ho 2022)."""

    def __call__(self, log_snr: Tensor, schedule: NoiseSchedule) -> Tensor:
        return 1 + torch.exp(-log_snr)

    def describe(self) -> str:
        return "w = 1/α², the plain v loss [@salimans2022progressive]"


@checked
@dataclass(frozen=True)
class MinSNR(LossWeight):
    """w = min(SNR, gamma) / SNR (Hang et al. 2023, eq. 8)."""

    gamma: PositiveFloat = 5.0

    def __call__(self, log_snr: Tensor, schedule: NoiseSchedule) -> Tensor:
        return (self.gamma * torch.exp(-log_snr)).clamp(max=1.0)

    def describe(self) -> str:
        return f"w = min(SNR, γ)/SNR with γ = {self.gamma:g} [@hang2023minsnr]"


@checked
@dataclass(frozen=True)
class Sigmoid(LossWeight):
    """w = sigmoid(bias - log_snr) (Kingma & Gao 2023; Hoogeboom et al. 2024)."""

    bias: float = 2.0

    def __call__(self, log_snr: Tensor, schedule: NoiseSchedule) -> Tensor:
        return torch.sigmoid(self.bias - log_snr)

    def describe(self) -> str:
        return f"a sigmoid of log-SNR with bias {self.bias:g} [@kingma2023understanding]"


@dataclass(frozen=True)
class Matched(LossWeight):
    """w = p_target / p: for every schedule the expected loss is that of `target` with w = 1.

    Two schedules then differ in the variance of the gradient alone, as long as both cover the target's range.
    """

    target: NoiseSchedule

    def __call__(self, log_snr: Tensor, schedule: NoiseSchedule) -> Tensor:
        density = schedule.density(log_snr)
        # There are no samples where the density underflows.
        return torch.where(density > 0, self.target.density(log_snr) / density, 0.0)

    def describe(self) -> str:
        return (
            "matched: density times weight is that of one target schedule with w = 1, so that all schedules have the "
            f"same objective: {self.target.family()}"
        )


def schedule_curves(name: str, schedule: NoiseSchedule, weight: LossWeight) -> dict[str, Any]:
    """The curves of a schedule for a figure: its name, and t, log_snr, density and weight as lists."""
    columns = curves(schedule)
    columns["weight"] = effective_weight(columns["log_snr"], schedule, weight)
    return {"name": name, **{key: values.tolist() for key, values in columns.items()}}


def effective_weight(log_snr: Tensor, schedule: NoiseSchedule, weight: LossWeight) -> Tensor:
    """p(log_snr) w(log_snr), scaled to integrate to 1 over the schedule's range: the density of the training loss."""
    low, high = schedule.reach
    grid = torch.linspace(low, high, 4097, dtype=torch.float64)
    total = torch.trapezoid(schedule.density(grid) * weight(grid, schedule), grid)
    return schedule.density(log_snr) * weight(log_snr, schedule) / total
