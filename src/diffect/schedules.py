"""Noise schedules: one strictly decreasing function log_snr(t), its inverse, and all that follows from them.

A schedule says how training spends its samples over noise levels, no more. The loss weight (`weights.py`) and the
levels at which a test image is judged (`scorers.py`) are separate settings, or a comparison of schedules would
quietly compare something else.

Everything is computed in float64: t and log_snr are small tensors, and a round trip must return t to 1e-9.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

CUT = 20.0
"""Where an infinite end of log_snr is cut: sigma^2 = 2e-9 there, below float32's resolution of x_t."""

EndPoints = Literal["native", "matched", "affine"]


class NoiseSchedule(ABC):
    """A strictly decreasing log_snr(t) for t in [0, 1], in nats: log_snr = log(alpha^2 / sigma^2).

    `endpoints` says which part of the family's curve t in [0, 1] runs over:

    - `native`: the paper's own range, infinite ends cut at |log_snr| = 20;
    - `matched`: t is restricted and rescaled so that log_snr runs over `log_snr_range` exactly, the curve's shape
      there unchanged; a range that the family does not reach is refused;
    - `affine`: log_snr itself is stretched onto `log_snr_range`, which changes the shape.
    """

    def __init__(self, endpoints: EndPoints = "matched", log_snr_range: Sequence[float] = (-5.0, 7.0)) -> None:
        if endpoints not in ("native", "matched", "affine"):
            raise ValueError(f"schedule.endpoints is {endpoints!r}; allowed: native, matched, affine")
        if len(log_snr_range) != 2 or not log_snr_range[0] < log_snr_range[1]:
            raise ValueError(f"schedule.log_snr_range is {list(log_snr_range)}; it must be [low, high], low < high")
        self.endpoints = endpoints
        self._wanted = (float(log_snr_range[0]), float(log_snr_range[1]))

    @abstractmethod
    def native_log_snr(self, t: Tensor) -> Tensor:
        """The family's own curve on t in [0, 1], float64, infinite at an end where the family is."""

    @abstractmethod
    def native_time(self, log_snr: Tensor) -> Tensor:
        """The inverse of `native_log_snr`, differentiable, float64."""

    @property
    def native_range(self) -> tuple[float, float]:
        """(low, high) of the family's own log_snr, cut at +-20."""
        high, low = self.native_log_snr(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
        return max(low, -CUT), min(high, CUT)

    @property
    def log_snr_range(self) -> tuple[float, float]:
        """(low, high) of log_snr over t in [0, 1] with these end points."""
        low, high = self.native_range
        if self.endpoints == "native":
            return low, high
        wanted_low, wanted_high = self._wanted
        if self.endpoints == "matched" and (wanted_low < low - 1e-9 or wanted_high > high + 1e-9):
            raise ValueError(
                f"schedule.log_snr_range is [{wanted_low:g}, {wanted_high:g}], but {type(self).__name__} reaches "
                f"only [{low:.2f}, {high:.2f}]; choose a range inside it, or schedule.endpoints=affine"
            )
        return self._wanted

    def log_snr(self, t: Tensor) -> Tensor:
        """log_snr at t in [0, 1], any shape, float64; t outside [0, 1] is a ValueError."""
        t = torch.as_tensor(t, dtype=torch.float64)
        if t.numel() and not (t.min() >= 0 and t.max() <= 1):
            raise ValueError(f"t must lie in [0, 1], found [{t.min():g}, {t.max():g}]")
        low, high = self.log_snr_range
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
        low, high = self.log_snr_range
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
        """p(log_snr) = -dt / dlog_snr, per nat: where uniform t puts its samples; 0 outside the range."""
        # Autograd on the inverse gives the exact slope of every family and wrapper. At the very ends `time` is
        # clamped and has no slope, so those points are moved inside by less than any plot or weight can show.
        low, high = self.log_snr_range
        asked = torch.as_tensor(log_snr, dtype=torch.float64)
        inside = asked.clamp(low + 1e-9, high - 1e-9).detach().requires_grad_()
        with torch.enable_grad():
            (slope,) = torch.autograd.grad(self.time(inside).sum(), inside)
        return torch.where((asked >= low) & (asked <= high), -slope, 0.0)

    def alphas_cumprod(self, steps: int) -> Tensor:
        """alpha^2 at t = (i + 1) / steps, i = 0..steps-1, as discrete codes know it; (steps,), float64."""
        t = torch.arange(1, steps + 1, dtype=torch.float64) / steps
        return torch.sigmoid(self.log_snr(t))

    def betas(self, steps: int) -> Tensor:
        """beta_i = 1 - alphas_cumprod_i / alphas_cumprod_(i-1), the first against 1; (steps,), float64."""
        alpha2 = self.alphas_cumprod(steps)
        return 1 - alpha2 / torch.cat([alpha2.new_ones(1), alpha2[:-1]])

    def _native_ends(self) -> tuple[Tensor, Tensor]:
        low, high = self.log_snr_range
        start, end = self.native_time(torch.tensor([high, low], dtype=torch.float64))
        return start, end


class DiscreteProduct(NoiseSchedule):
    """alphas_cumprod = prod(1 - beta_i), entry i at t = (i + 1) / T, made continuous.

    Between entries beta is held constant, so -log(alpha^2) is piecewise linear in t and starts at 0 for t = 0
    (no noise): monotone in log_snr, and its inverse is exact.
    """

    def __init__(
        self,
        betas: Sequence[float] | Tensor,
        endpoints: EndPoints = "matched",
        log_snr_range: Sequence[float] = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        values = torch.as_tensor(betas, dtype=torch.float64)
        if values.ndim != 1 or len(values) == 0 or not ((values > 0) & (values < 1)).all():
            raise ValueError("betas must be a list of numbers strictly between 0 and 1")
        steps = -torch.log1p(-values)
        self._decay = torch.cat([steps.new_zeros(1), steps.cumsum(0)])  # -log alpha^2 at t = i / T, (T + 1,)
        self._t = torch.arange(len(self._decay), dtype=torch.float64) / (len(self._decay) - 1)

    def native_log_snr(self, t: Tensor) -> Tensor:
        return -torch.log(torch.expm1(_interpolate(t, self._t, self._decay)))

    def native_time(self, log_snr: Tensor) -> Tensor:
        return _interpolate(softplus(-log_snr, threshold=700), self._decay, self._t)


class Linear(DiscreteProduct):
    """beta linear in the step (Ho et al. 2020, DDPM, section 4)."""

    def __init__(
        self,
        beta_start: float = 1e-4,
        beta_end: float = 0.02,
        steps: int = 1000,
        endpoints: EndPoints = "matched",
        log_snr_range: Sequence[float] = (-5.0, 7.0),
    ) -> None:
        super().__init__(torch.linspace(beta_start, beta_end, steps, dtype=torch.float64), endpoints, log_snr_range)


class ScaledLinear(DiscreteProduct):
    """sqrt(beta) linear in the step (Rombach et al. 2022, latent diffusion)."""

    def __init__(
        self,
        beta_start: float = 0.00085,
        beta_end: float = 0.012,
        steps: int = 1000,
        endpoints: EndPoints = "matched",
        log_snr_range: Sequence[float] = (-5.0, 7.0),
    ) -> None:
        roots = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64)
        super().__init__(roots**2, endpoints, log_snr_range)


class Cosine(NoiseSchedule):
    """alpha^2 = f(t) / f(0), f = cos^2((t + s) / (1 + s) pi / 2) (Nichol & Dhariwal 2021, eq. 17)."""

    def __init__(
        self,
        s: float = 0.008,
        endpoints: EndPoints = "matched",
        log_snr_range: Sequence[float] = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        if s < 0:
            raise ValueError(f"schedule.s is {s}; it must be 0 or more")
        self.s = s
        self._x0 = s / (1 + s) * math.pi / 2

    def native_log_snr(self, t: Tensor) -> Tensor:
        x = (t + self.s) / (1 + self.s) * math.pi / 2
        # 1 - alpha^2 = sin(x - x0) sin(x + x0) / cos^2 x0: no cancellation near t = 0.
        return 2 * torch.log(torch.cos(x)) - torch.log(torch.sin(x - self._x0) * torch.sin(x + self._x0))

    def native_time(self, log_snr: Tensor) -> Tensor:
        cos2 = math.cos(self._x0) ** 2
        sin = torch.sqrt(math.sin(self._x0) ** 2 + cos2 * torch.sigmoid(-log_snr))
        x = torch.atan2(sin, torch.sqrt(cos2 * torch.sigmoid(log_snr)))
        return x * 2 / math.pi * (1 + self.s) - self.s


class Sigmoid(NoiseSchedule):
    """alpha^2 falls as a sigmoid in t from 1 to 0 (Jabri et al. 2022; Chen 2023, gamma, algorithm 1)."""

    def __init__(
        self,
        start: float = -3.0,
        end: float = 3.0,
        tau: float = 1.0,
        endpoints: EndPoints = "matched",
        log_snr_range: Sequence[float] = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        if tau <= 0 or start >= end:
            raise ValueError(f"schedule needs tau > 0 and start < end, found {tau=}, {start=}, {end=}")
        self.a, self.b = start / tau, end / tau

    def native_log_snr(self, t: Tensor) -> Tensor:
        # sigmoid(q) - sigmoid(p) = sinh((q - p) / 2) / (2 cosh(p / 2) cosh(q / 2)): no cancellation at the ends.
        span = self.b - self.a
        ratio = torch.log(torch.sinh(span * (1 - t) / 2)) - torch.log(torch.sinh(span * t / 2))
        return ratio + math.log(math.cosh(self.a / 2)) - math.log(math.cosh(self.b / 2))

    def native_time(self, log_snr: Tensor) -> Tensor:
        first, last = 1 / (1 + math.exp(-self.a)), 1 / (1 + math.exp(-self.b))
        value = first + (last - first) * torch.sigmoid(-log_snr)
        other = 1 / (1 + math.exp(self.b)) + (last - first) * torch.sigmoid(log_snr)  # 1 - value, as a sum again
        return (torch.log(value) - torch.log(other) - self.a) / (self.b - self.a)


class Laplace(NoiseSchedule):
    """log_snr follows a Laplace distribution (Hang & Gu 2024): mu - b sgn(1/2 - t) log(1 - 2 |t - 1/2|)."""

    def __init__(
        self,
        mu: float = 0.0,
        b: float = 0.5,
        endpoints: EndPoints = "matched",
        log_snr_range: Sequence[float] = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        if b <= 0:
            raise ValueError(f"schedule.b is {b}; it must be positive")
        self.mu, self.b = mu, b

    def native_log_snr(self, t: Tensor) -> Tensor:
        return self.mu - self.b * torch.sign(0.5 - t) * torch.log(2 * torch.minimum(t, 1 - t))

    def native_time(self, log_snr: Tensor) -> Tensor:
        # Two branches instead of |y|, whose slope autograd takes for 0 at the mode: the density there is 1 / (2 b).
        y = (log_snr - self.mu) / self.b
        return torch.where(y > 0, 0.5 * torch.exp(-y.clamp(min=0)), 1 - 0.5 * torch.exp(y.clamp(max=0)))


class EDM(NoiseSchedule):
    """log sigma ~ N(P_mean, P_std^2) with data of deviation sigma_data (Karras et al. 2022, table 1).

    Here x0 has unit variance, so log_snr = 2 log(sigma_data) - 2 log(sigma).
    """

    def __init__(
        self,
        p_mean: float = -1.2,
        p_std: float = 1.2,
        sigma_data: float = 0.5,
        endpoints: EndPoints = "matched",
        log_snr_range: Sequence[float] = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        if p_std <= 0 or sigma_data <= 0:
            raise ValueError(f"schedule needs p_std > 0 and sigma_data > 0, found {p_std=}, {sigma_data=}")
        self.mean, self.std = 2 * math.log(sigma_data) - 2 * p_mean, 2 * p_std

    def native_log_snr(self, t: Tensor) -> Tensor:
        return self.mean - self.std * torch.special.ndtri(t)

    def native_time(self, log_snr: Tensor) -> Tensor:
        return torch.special.ndtr((self.mean - log_snr) / self.std)


class RectifiedFlow(NoiseSchedule):
    """x_t ~ (1 - t) x0 + t eps, rescaled to unit variance: log_snr = 2 log((1 - t) / t) (Liu et al. 2022)."""

    def native_log_snr(self, t: Tensor) -> Tensor:
        return 2 * (torch.log1p(-t) - torch.log(t))

    def native_time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2)


class Shifted(NoiseSchedule):
    """Another schedule's curve moved to an image size: + 2 log(base_size / size) (Hoogeboom et al. 2023, eq. 3)."""

    def __init__(
        self,
        base: NoiseSchedule,
        size: float,
        base_size: float = 64.0,
        endpoints: EndPoints = "matched",
        log_snr_range: Sequence[float] = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        if size <= 0 or base_size <= 0:
            raise ValueError(f"schedule.size and schedule.base_size must be positive, found {size}, {base_size}")
        self.base, self.shift = base, 2 * math.log(base_size / size)

    def native_log_snr(self, t: Tensor) -> Tensor:
        return self.base.native_log_snr(t) + self.shift

    def native_time(self, log_snr: Tensor) -> Tensor:
        return self.base.native_time(log_snr - self.shift)


class ZeroTerminalSNR(NoiseSchedule):
    """Another schedule's alpha shifted and scaled so that alpha(1) = 0 (Lin et al. 2024, algorithm 1).

    alpha' = (alpha - alpha(1)) / (1 - alpha(1)): the clean end t = 0 is kept, where the discrete algorithm keeps
    its first entry; the two differ by less than 1e-4 in alpha^2 for the schedules in use.
    """

    def __init__(
        self,
        base: NoiseSchedule,
        endpoints: EndPoints = "matched",
        log_snr_range: Sequence[float] = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        self.base = base
        last = base.native_log_snr(torch.ones(1, dtype=torch.float64))
        self._last = float(torch.sqrt(torch.sigmoid(last)))

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


def curves(schedule: NoiseSchedule, points: int = 129) -> dict[str, Tensor]:
    """t, log_snr(t) and p(log_snr) at evenly spaced t, `points` values each: what a picture of the schedule needs."""
    t = torch.linspace(0, 1, points, dtype=torch.float64)
    log_snr = schedule.log_snr(t)
    return {"t": t, "log_snr": log_snr, "density": schedule.density(log_snr)}


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear y(x) through increasing knots (xs, ys), differentiable in x, held at the last knot."""
    cell = torch.searchsorted(xs, x.detach().contiguous(), right=True).clamp(1, len(xs) - 1)
    left, right = xs[cell - 1], xs[cell]
    share = ((x - left) / (right - left)).clamp(max=1.0)
    return ys[cell - 1] + share * (ys[cell] - ys[cell - 1])
