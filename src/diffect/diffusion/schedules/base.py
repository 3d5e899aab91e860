"""The base class of noise schedules: log_snr(t), its inverse, end points, density and discrete form."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from diffect.config.check import checked
from diffect.config.description import Described
from diffect.config.types import Range

CUT = 20.0
"""Where an infinite end of log_snr is cut: sigma^2 = 2e-9 there, below float32's resolution of x_t."""

EndPoints = Literal["native", "matched", "affine"]


@checked
@dataclass(frozen=True, kw_only=True)
class NoiseSchedule(Described, ABC):
    """A strictly decreasing log_snr(t) for t in [0, 1], in nats: log_snr = log(alpha^2 / sigma^2).

    `endpoints` says which part of the family's curve t in [0, 1] runs over:

    - `native`: the paper's range, infinite ends cut at |log_snr| = 20;
    - `matched`: t is restricted and rescaled so that log_snr runs over `log_snr_range` exactly, the curve's shape
      there unchanged; a range that the family does not reach is refused;
    - `affine`: log_snr itself is stretched onto `log_snr_range`, which changes the shape.
    """

    endpoints: EndPoints = "matched"
    log_snr_range: Range = (-5.0, 7.0)

    def __post_init__(self) -> None:
        if len(self.log_snr_range) != 2 or not self.log_snr_range[0] < self.log_snr_range[1]:
            raise ValueError(
                f"schedule.log_snr_range is {list(self.log_snr_range)}; it must be [low, high], low < high"
            )

    @abstractmethod
    def native_log_snr(self, t: Tensor) -> Tensor:
        """The curve of the family on t in [0, 1], float64; it may be infinite at the ends."""

    @abstractmethod
    def native_time(self, log_snr: Tensor) -> Tensor:
        """The inverse of `native_log_snr`, differentiable, float64."""

    def family(self) -> str:
        """The family and its settings, in words; by default the first sentence of the docstring of the class."""
        return super().describe()

    def describe(self) -> str:
        """The family, and which log-SNRs it covers."""
        low, high = self.reach
        covers = {
            "native": "on its native range, infinite ends cut at |log-SNR| = 20",
            "matched": f"with time restricted and rescaled so that log-SNR falls from {high:g} to {low:g}",
            "affine": f"with log-SNR stretched onto {low:g} to {high:g}",
        }
        return f"{self.family()}, {covers[self.endpoints]}"

    @property
    def native_range(self) -> tuple[float, float]:
        """(low, high) of the family's log_snr, cut at +-20."""
        high, low = self.native_log_snr(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        return max(low, -CUT), min(high, CUT)

    @property
    def reach(self) -> tuple[float, float]:
        """(low, high) of log_snr over t in [0, 1] with these end points."""
        low, high = self.native_range
        if self.endpoints == "native":
            return low, high
        wanted_low, wanted_high = (float(end) for end in self.log_snr_range)
        if self.endpoints == "matched" and (wanted_low < low - 1e-9 or wanted_high > high + 1e-9):
            raise ValueError(
                f"schedule.log_snr_range is [{wanted_low:g}, {wanted_high:g}], but {type(self).__name__} reaches "
                f"only [{low:.2f}, {high:.2f}]; choose a range inside it, or schedule.endpoints=affine"
            )
        return wanted_low, wanted_high

    def log_snr(self, t: Tensor) -> Tensor:
        """log_snr at t in [0, 1], any shape, float64; t outside [0, 1] is a ValueError."""
        t = torch.as_tensor(t, dtype=torch.float64)
        if t.numel() and not (t.min() >= 0 and t.max() <= 1):
            raise ValueError(f"t must lie in [0, 1]; it reaches from {t.min():g} to {t.max():g}")
        low, high = self.reach
        if self.endpoints == "matched":
            start, end = self._native_ends()
            t = start + (end - start) * t
        raw = self.native_log_snr(t)
        if self.endpoints == "affine":
            native_low, native_high = self.native_range
            raw = low + (raw.clamp(native_low, native_high) - native_low) * (high - low) / (native_high - native_low)
        return raw.clamp(low, high)

    def time(self, log_snr: Tensor) -> Tensor:
        """The t in [0, 1] at which `log_snr` is reached, any shape, float64; beyond the range, the nearer end."""
        low, high = self.reach
        raw = torch.as_tensor(log_snr, dtype=torch.float64).clamp(low, high)
        if self.endpoints == "affine":
            native_low, native_high = self.native_range
            raw = native_low + (raw - low) * (native_high - native_low) / (high - low)
        t = self.native_time(raw)
        if self.endpoints == "matched":
            start, end = self._native_ends()
            t = (t - start) / (end - start)
        return t.clamp(0.0, 1.0)

    def density(self, log_snr: Tensor) -> Tensor:
        """p(log_snr) = -dt / dlog_snr, per nat: the density of samples for uniform t; 0 outside the range."""
        # Autograd on the inverse gives the exact slope of every family and wrapper. At the very ends `time` is
        # clamped and has no slope, so those points are moved inside by a negligible amount.
        low, high = self.reach
        log_snr = torch.as_tensor(log_snr, dtype=torch.float64)
        inside = log_snr.clamp(low + 1e-9, high - 1e-9).detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.time(inside).sum(), inside)
        return torch.where((log_snr >= low) & (log_snr <= high), -slope, 0.0)

    def alphas_cumprod(self, steps: int) -> Tensor:
        """alpha^2 at t = (i + 1) / steps, i = 0..steps-1, as discrete codes know it; (steps,), float64."""
        t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
        return torch.sigmoid(self.log_snr(t))

    def betas(self, steps: int) -> Tensor:
        """beta_i = 1 - alphas_cumprod_i / alphas_cumprod_(i-1), the first against 1; (steps,), float64."""
        alpha2 = self.alphas_cumprod(steps)
        return 1 - alpha2 / torch.cat([alpha2.new_ones(1), alpha2[:-1]])

    def _native_ends(self) -> tuple[Tensor, Tensor]:
        low, high = self.reach
        start, end = self.native_time(torch.tensor([high, low], dtype=torch.float64))
        return start, end


def curves(schedule: NoiseSchedule, points: int = 129) -> dict[str, Tensor]:
    """t, log_snr(t) and p(log_snr) at evenly spaced t, `points` values each, for a figure of the schedule."""
    t = torch.linspace(0, 1, points, dtype=torch.float64)
    log_snr = schedule.log_snr(t)
    return {"t": t, "log_snr": log_snr, "density": schedule.density(log_snr)}
