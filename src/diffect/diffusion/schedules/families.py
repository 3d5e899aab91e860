"""The families of the literature, each with its formula, its exact inverse and its source."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import softplus

from diffect.config.check import checked
from diffect.config.types import NonNegativeFloat, OpenShare, PositiveFloat, PositiveInt, Range
from diffect.diffusion.schedules.base import EndPoints, NoiseSchedule


@checked
class DiscreteProduct(NoiseSchedule):
    """alphas_cumprod = prod(1 - beta_i), entry i at t = (i + 1) / T, made continuous.

    Between entries beta is held constant, so -log(alpha^2) is piecewise linear in t and starts at 0 for t = 0
    (no noise): monotone in log_snr, and its inverse is exact.
    """

    def __init__(
        self,
        betas: Sequence[float] | Tensor,
        endpoints: EndPoints = "matched",
        log_snr_range: Range = (-5.0, 7.0),
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


@checked
class Linear(DiscreteProduct):
    """beta linear in the step (Ho et al. 2020, DDPM, section 4)."""

    def __init__(
        self,
        beta_start: OpenShare = 1e-4,
        beta_end: OpenShare = 0.02,
        steps: PositiveInt = 1000,
        endpoints: EndPoints = "matched",
        log_snr_range: Range = (-5.0, 7.0),
    ) -> None:
        super().__init__(torch.linspace(beta_start, beta_end, steps, dtype=torch.float64), endpoints, log_snr_range)
        self.beta_start, self.beta_end = beta_start, beta_end

    def family(self) -> str:
        return f"β linear in the step, from {self.beta_start:g} to {self.beta_end:g} [@ho2020ddpm]"


@checked
class ScaledLinear(DiscreteProduct):
    """sqrt(beta) linear in the step (Rombach et al. 2022, latent diffusion)."""

    def __init__(
        self,
        beta_start: OpenShare = 0.00085,
        beta_end: OpenShare = 0.012,
        steps: PositiveInt = 1000,
        endpoints: EndPoints = "matched",
        log_snr_range: Range = (-5.0, 7.0),
    ) -> None:
        roots = torch.linspace(beta_start**0.5, beta_end**0.5, steps, dtype=torch.float64)
        super().__init__(roots**2, endpoints, log_snr_range)
        self.beta_start, self.beta_end = beta_start, beta_end

    def family(self) -> str:
        return f"√β linear in the step, β from {self.beta_start:g} to {self.beta_end:g} [@rombach2022latent]"


@checked
class Cosine(NoiseSchedule):
    """alpha^2 = f(t) / f(0), f = cos^2((t + s) / (1 + s) pi / 2) (Nichol & Dhariwal 2021, eq. 17)."""

    def __init__(
        self,
        s: NonNegativeFloat = 0.008,
        endpoints: EndPoints = "matched",
        log_snr_range: Range = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        self.s = s
        self._x0 = s / (1 + s) * math.pi / 2

    def family(self) -> str:
        return f"the cosine schedule with s = {self.s:g} [@nichol2021improved]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        x = (t + self.s) / (1 + self.s) * math.pi / 2
        # 1 - alpha^2 = sin(x - x0) sin(x + x0) / cos^2 x0: no cancellation near t = 0.
        return 2 * torch.log(torch.cos(x)) - torch.log(torch.sin(x - self._x0) * torch.sin(x + self._x0))

    def native_time(self, log_snr: Tensor) -> Tensor:
        cos2 = math.cos(self._x0) ** 2
        sin = torch.sqrt(math.sin(self._x0) ** 2 + cos2 * torch.sigmoid(-log_snr))
        x = torch.atan2(sin, torch.sqrt(cos2 * torch.sigmoid(log_snr)))
        return x * 2 / math.pi * (1 + self.s) - self.s


@checked
class Sigmoid(NoiseSchedule):
    """alpha^2 falls as a sigmoid in t from 1 to 0 (Jabri et al. 2022; Chen 2023, gamma, algorithm 1)."""

    def __init__(
        self,
        start: float = -3.0,
        end: float = 3.0,
        tau: PositiveFloat = 1.0,
        endpoints: EndPoints = "matched",
        log_snr_range: Range = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        if start >= end:
            raise ValueError(f"schedule.start is {start:g}; it must lie below schedule.end, {end:g}")
        self.a, self.b, self.tau = start / tau, end / tau, tau

    def family(self) -> str:
        settings = f"from {self.a * self.tau:g} to {self.b * self.tau:g}, τ = {self.tau:g}"
        return f"the sigmoid schedule {settings} [@jabri2023scalable; @chen2023importance]"

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


@checked
class Laplace(NoiseSchedule):
    """log_snr follows a Laplace distribution (Hang & Gu 2024): mu - b sgn(1/2 - t) log(1 - 2 |t - 1/2|)."""

    def __init__(
        self,
        mu: float = 0.0,
        b: PositiveFloat = 0.5,
        endpoints: EndPoints = "matched",
        log_snr_range: Range = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        self.mu, self.b = mu, b

    def family(self) -> str:
        return f"log-SNR from a Laplace distribution with μ = {self.mu:g} and b = {self.b:g} [@hang2024improved]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        return self.mu - self.b * torch.sign(0.5 - t) * torch.log(2 * torch.minimum(t, 1 - t))

    def native_time(self, log_snr: Tensor) -> Tensor:
        # Two branches instead of |y|, whose slope autograd takes for 0 at the mode: the density there is 1 / (2 b).
        y = (log_snr - self.mu) / self.b
        return torch.where(y > 0, 0.5 * torch.exp(-y.clamp(min=0)), 1 - 0.5 * torch.exp(y.clamp(max=0)))


@checked
class EDM(NoiseSchedule):
    """log sigma ~ N(P_mean, P_std^2) with data of deviation sigma_data (Karras et al. 2022, table 1).

    Here x0 has unit variance, so log_snr = 2 log(sigma_data) - 2 log(sigma).
    """

    def __init__(
        self,
        p_mean: float = -1.2,
        p_std: PositiveFloat = 1.2,
        sigma_data: PositiveFloat = 0.5,
        endpoints: EndPoints = "matched",
        log_snr_range: Range = (-5.0, 7.0),
    ) -> None:
        super().__init__(endpoints, log_snr_range)
        self.mean, self.std = 2 * math.log(sigma_data) - 2 * p_mean, 2 * p_std
        self.p_mean, self.p_std, self.sigma_data = p_mean, p_std, sigma_data

    def family(self) -> str:
        settings = f"P_mean = {self.p_mean:g}, P_std = {self.p_std:g} and data of deviation {self.sigma_data:g}"
        return f"log-normal noise with {settings} [@karras2022edm]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        return self.mean - self.std * torch.special.ndtri(t)

    def native_time(self, log_snr: Tensor) -> Tensor:
        return torch.special.ndtr((self.mean - log_snr) / self.std)


class RectifiedFlow(NoiseSchedule):
    """x_t ~ (1 - t) x0 + t eps, rescaled to unit variance: log_snr = 2 log((1 - t) / t) (Liu et al. 2022)."""

    def family(self) -> str:
        return "the straight paths of rectified flow [@liu2023flow]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        return 2 * (torch.log1p(-t) - torch.log(t))

    def native_time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2)


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear y(x) through increasing knots (xs, ys), differentiable in x, held at the last knot."""
    cell = torch.searchsorted(xs, x.detach().contiguous(), right=True).clamp(1, len(xs) - 1)
    left, right = xs[cell - 1], xs[cell]
    share = ((x - left) / (right - left)).clamp(max=1.0)
    return ys[cell - 1] + share * (ys[cell] - ys[cell - 1])
