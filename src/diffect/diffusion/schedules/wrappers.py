"""Schedules made from other schedules: moved to an image size, or stretched to zero terminal SNR."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from diffect.config.check import checked
from diffect.config.types import PositiveFloat, Range
from diffect.diffusion.schedules.base import EndPoints, NoiseSchedule


@checked
class Shifted(NoiseSchedule):
    """Another schedule's curve moved to an image size: + 2 log(base_size / size) (Hoogeboom et al. 2023, eq. 3)."""

    def __init__(
        self,
        base: NoiseSchedule,
        size: PositiveFloat,
        base_size: PositiveFloat = 64.0,
        endpoints: EndPoints = "matched",
        log_snr_range: Range = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        self.base, self.size, self.base_size = base, size, base_size
        self.shift = 2 * math.log(base_size / size)

    def family(self) -> str:
        sizes = f"from {self.base_size:g} to {self.size:g} cells"
        return f"{self.base.family()}, shifted to the size of the input, {sizes} [@hoogeboom2023simple]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        return self.base.native_log_snr(t) + self.shift

    def native_time(self, log_snr: Tensor) -> Tensor:
        return self.base.native_time(log_snr - self.shift)


@checked
class ZeroTerminalSNR(NoiseSchedule):
    """Another schedule's alpha shifted and scaled so that alpha(1) = 0 (Lin et al. 2024, algorithm 1).

    alpha' = (alpha - alpha(1)) / (1 - alpha(1)): the clean end t = 0 is kept, where the discrete algorithm keeps
    its first entry; the two differ by less than 1e-4 in alpha^2 for the schedules in use.
    """

    def __init__(
        self,
        base: NoiseSchedule,
        endpoints: EndPoints = "matched",
        log_snr_range: Range = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        self.base = base
        last = base.native_log_snr(torch.ones(1, dtype=torch.float64))
        self._last = float(torch.sqrt(torch.sigmoid(last)))

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
