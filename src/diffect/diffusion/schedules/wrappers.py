"""Schedules made from other schedules: moved to an image size, or stretched to zero terminal SNR."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from diffect.config.check import checked
from diffect.config.types import PositiveFloat
from diffect.diffusion.schedules.base import NoiseSchedule


@checked
@dataclass(frozen=True)
class Shifted(NoiseSchedule):
    """Another schedule's curve moved to an image size: + 2 log(base_size / size) (Hoogeboom et al. 2023, eq. 3)."""

    base: NoiseSchedule
    size: PositiveFloat
    base_size: PositiveFloat = 64.0

    def family(self) -> str:
        sizes = f"from {self.base_size:g} to {self.size:g} cells"
        return f"{self.base.family()}, shifted to the size of the input, {sizes} [@hoogeboom2023simple]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        return self.base.native_log_snr(t) + 2 * math.log(self.base_size / self.size)

    def native_time(self, log_snr: Tensor) -> Tensor:
        return self.base.native_time(log_snr - 2 * math.log(self.base_size / self.size))


@checked
@dataclass(frozen=True)
class ZeroTerminalSNR(NoiseSchedule):
    """Another schedule's alpha shifted and scaled so that alpha(1) = 0 (Lin et al. 2024, algorithm 1).

    alpha' = (alpha - alpha(1)) / (1 - alpha(1)): the clean end t = 0 is kept, where the discrete algorithm keeps
    its first entry; the two differ by less than 1e-4 in alpha^2 for the schedules in use.
    """

    base: NoiseSchedule

    @cached_property
    def _last(self) -> float:
        """alpha(1) of the base."""
        return float(torch.sqrt(torch.sigmoid(self.base.native_log_snr(torch.ones(1, dtype=torch.float64)))))

    def family(self) -> str:
        return f"{self.base.family()}, rescaled to a terminal SNR of zero [@lin2024common]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        log_snr = self.base.native_log_snr(t)
        alpha = torch.sqrt(torch.sigmoid(log_snr))
        away = torch.sigmoid(-log_snr) / (1 + alpha) / (1 - self._last)  # 1 - alpha', without cancellation
        moved = (alpha - self._last).clamp(min=0) / (1 - self._last)
        return 2 * torch.log(moved) - torch.log(away) - torch.log(1 + moved)

    def native_time(self, log_snr: Tensor) -> Tensor:
        moved = torch.exp(0.5 * logsigmoid(log_snr))
        away = torch.sigmoid(-log_snr) / (1 + moved) * (1 - self._last)  # 1 - alpha of the base
        alpha = self._last + (1 - self._last) * moved
        return self.base.native_time(2 * torch.log(alpha) - torch.log(away) - torch.log(1 + alpha))
