"""The schedules of the literature, each with its formula, its exact inverse and its source."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus

from diffect.config.check import checked
from diffect.config.types import NonNegativeFloat, OpenShare, PositiveFloat, PositiveInt, Range
from diffect.diffusion.schedules.base import CUT, EndPoints, NoiseSchedule


class Discrete(NoiseSchedule, ABC):
    """alphas_cumprod = prod(1 - beta_i), entry i at t = (i + 1) / T, made continuous.

    Between entries beta is held constant, so -log(alpha^2) is piecewise linear in t and starts at 0 for t = 0
    (no noise): monotone in log_snr, and its inverse is exact.
    """

    @property
    @abstractmethod
    def native_betas(self) -> Tensor:
        """The beta_i (T,), float64."""

    def native_log_snr(self, t: Tensor) -> Tensor:
        return -torch.log(torch.expm1(_interpolate(t, *self._knots)))

    def native_time(self, log_snr: Tensor) -> Tensor:
        t, decay = self._knots
        return _interpolate(softplus(-log_snr, threshold=700), decay, t)

    @cached_property
    def _knots(self) -> tuple[Tensor, Tensor]:
        """t = i / T and -log alpha^2 there, (T + 1,) each."""
        steps = -torch.log1p(-self.native_betas)
        decay = torch.cat([steps.new_zeros(1), steps.cumsum(0)])
        return torch.arange(len(decay), dtype=torch.float64) / (len(decay) - 1), decay


@checked
class DiscreteProduct(Discrete):
    """Betas that are given one by one, as `from_diffusers` reads them."""

    def __init__(
        self, betas: Sequence[float] | Tensor, endpoints: EndPoints = "matched", log_snr_range: Range = (-5.0, 7.0)
    ) -> None:
        super().__init__(endpoints=endpoints, log_snr_range=log_snr_range)
        self._betas = torch.as_tensor(betas, dtype=torch.float64)
        if self._betas.ndim != 1 or len(self._betas) == 0 or not ((self._betas > 0) & (self._betas < 1)).all():
            raise ValueError("betas must be a list of numbers strictly between 0 and 1")

    @property
    def native_betas(self) -> Tensor:
        return self._betas


@checked
@dataclass(frozen=True)
class Linear(Discrete):
    """beta linear in the step (Ho et al. 2020, DDPM, section 4)."""

    beta_start: OpenShare = 1e-4
    beta_end: OpenShare = 0.02
    steps: PositiveInt = 1000

    @property
    def native_betas(self) -> Tensor:
        return torch.linspace(self.beta_start, self.beta_end, self.steps, dtype=torch.float64)

    def family(self) -> str:
        return f"β linear in the step, from {self.beta_start:g} to {self.beta_end:g} [@ho2020ddpm]"


@checked
@dataclass(frozen=True)
class ScaledLinear(Discrete):
    """sqrt(beta) linear in the step (Rombach et al. 2022, latent diffusion)."""

    beta_start: OpenShare = 0.00085
    beta_end: OpenShare = 0.012
    steps: PositiveInt = 1000

    @property
    def native_betas(self) -> Tensor:
        return torch.linspace(self.beta_start**0.5, self.beta_end**0.5, self.steps, dtype=torch.float64) ** 2

    def family(self) -> str:
        return f"√β linear in the step, β from {self.beta_start:g} to {self.beta_end:g} [@rombach2022latent]"


@checked
@dataclass(frozen=True)
class Cosine(NoiseSchedule):
    """alpha^2 = f(t) / f(0), f = cos^2((t + s) / (1 + s) pi / 2) (Nichol & Dhariwal 2021, eq. 17)."""

    s: NonNegativeFloat = 0.008

    def family(self) -> str:
        return f"the cosine schedule with s = {self.s:g} [@nichol2021improved]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        x, start = (t + self.s) / (1 + self.s) * math.pi / 2, self.s / (1 + self.s) * math.pi / 2
        # 1 - alpha^2 = sin(x - start) sin(x + start) / cos^2 start: no cancellation near t = 0.
        return 2 * torch.log(torch.cos(x)) - torch.log(torch.sin(x - start) * torch.sin(x + start))

    def native_time(self, log_snr: Tensor) -> Tensor:
        start = self.s / (1 + self.s) * math.pi / 2
        cos2 = math.cos(start) ** 2
        sin = torch.sqrt(math.sin(start) ** 2 + cos2 * torch.sigmoid(-log_snr))
        x = torch.atan2(sin, torch.sqrt(cos2 * torch.sigmoid(log_snr)))
        return x * 2 / math.pi * (1 + self.s) - self.s


@checked
@dataclass(frozen=True)
class Sigmoid(NoiseSchedule):
    """alpha^2 falls as a sigmoid in t from 1 to 0 (Jabri et al. 2022; Chen 2023, gamma, algorithm 1)."""

    start: float = -3.0
    end: float = 3.0
    tau: PositiveFloat = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.start >= self.end:
            raise ValueError(f"schedule.start is {self.start:g}; it must lie below schedule.end, {self.end:g}")

    def family(self) -> str:
        settings = f"from {self.start:g} to {self.end:g}, τ = {self.tau:g}"
        return f"the sigmoid schedule {settings} [@jabri2023scalable; @chen2023importance]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        a, b = self.start / self.tau, self.end / self.tau
        # sigmoid(q) - sigmoid(p) = sinh((q - p) / 2) / (2 cosh(p / 2) cosh(q / 2)): no cancellation at the ends.
        ratio = torch.log(torch.sinh((b - a) * (1 - t) / 2)) - torch.log(torch.sinh((b - a) * t / 2))
        return ratio + math.log(math.cosh(a / 2)) - math.log(math.cosh(b / 2))

    def native_time(self, log_snr: Tensor) -> Tensor:
        a, b = self.start / self.tau, self.end / self.tau
        first, last = 1 / (1 + math.exp(-a)), 1 / (1 + math.exp(-b))
        value = first + (last - first) * torch.sigmoid(-log_snr)
        other = 1 / (1 + math.exp(b)) + (last - first) * torch.sigmoid(log_snr)  # 1 - value, as a sum again
        return (torch.log(value) - torch.log(other) - a) / (b - a)


@checked
@dataclass(frozen=True)
class Laplace(NoiseSchedule):
    """log_snr follows a Laplace distribution (Hang & Gu 2024): mu - b sgn(1/2 - t) log(1 - 2 |t - 1/2|)."""

    mu: float = 0.0
    b: PositiveFloat = 0.5

    def family(self) -> str:
        return f"log-SNR from a Laplace distribution with μ = {self.mu:g} and b = {self.b:g} [@hang2024improved]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        return self.mu - self.b * torch.sign(0.5 - t) * torch.log(2 * torch.minimum(t, 1 - t))

    def native_time(self, log_snr: Tensor) -> Tensor:
        # Two branches instead of |y|, whose slope autograd takes for 0 at the mode: the density there is 1 / (2 b).
        y = (log_snr - self.mu) / self.b
        return torch.where(y > 0, 0.5 * torch.exp(-y.clamp(min=0)), 1 - 0.5 * torch.exp(y.clamp(max=0)))


@checked
@dataclass(frozen=True)
class EDM(NoiseSchedule):
    """log sigma ~ N(P_mean, P_std^2) with data of deviation sigma_data (Karras et al. 2022, table 1).

    Here x0 has unit variance, so log_snr = 2 log(sigma_data) - 2 log(sigma).
    """

    p_mean: float = -1.2
    p_std: PositiveFloat = 1.2
    sigma_data: PositiveFloat = 0.5

    def family(self) -> str:
        settings = f"P_mean = {self.p_mean:g}, P_std = {self.p_std:g} and data of deviation {self.sigma_data:g}"
        return f"log-normal noise with {settings} [@karras2022edm]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        return 2 * (math.log(self.sigma_data) - self.p_mean - self.p_std * torch.special.ndtri(t))

    def native_time(self, log_snr: Tensor) -> Tensor:
        return torch.special.ndtr((math.log(self.sigma_data) - self.p_mean - log_snr / 2) / self.p_std)


class RectifiedFlow(NoiseSchedule):
    """x_t ~ (1 - t) x0 + t eps, rescaled to unit variance: log_snr = 2 log((1 - t) / t) (Liu et al. 2022)."""

    def family(self) -> str:
        return "the straight paths of rectified flow [@liu2023flow]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        return 2 * (torch.log1p(-t) - torch.log(t))

    def native_time(self, log_snr: Tensor) -> Tensor:
        return torch.sigmoid(-log_snr / 2)


class Uniform(NoiseSchedule):
    """Every log-SNR equally often: log_snr = 20 (1 - 2 t), as variational diffusion models begin (Kingma et al. 2021).

    sigma / alpha is geometric in t.
    """

    def family(self) -> str:
        return "log-SNR linear in t [@kingma2021variational]"

    def native_log_snr(self, t: Tensor) -> Tensor:
        return CUT * (1 - 2 * t)

    def native_time(self, log_snr: Tensor) -> Tensor:
        return (1 - log_snr / CUT) / 2


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


def _interpolate(x: Tensor, xs: Tensor, ys: Tensor) -> Tensor:
    """Piecewise linear y(x) through increasing knots (xs, ys), differentiable in x, held at the last knot."""
    cell = torch.searchsorted(xs, x.detach().contiguous(), right=True).clamp(1, len(xs) - 1)
    left, right = xs[cell - 1], xs[cell]
    share = ((x - left) / (right - left)).clamp(max=1.0)
    return ys[cell - 1] + share * (ys[cell] - ys[cell - 1])
