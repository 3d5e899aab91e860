"""The forward process, the three predictions, the training objective, image-keyed noise, and DDIM.

x_t = alpha x0 + sigma eps with alpha^2 = sigmoid(log_snr), sigma^2 = sigmoid(-log_snr); v = alpha eps - sigma x0.
The one contract of every denoiser is x0_hat = denoiser(x_t, log_snr, label).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

from diffect.schedules import NoiseSchedule
from diffect.weights import LossWeight

Prediction = Literal["eps", "v", "x0"]


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


def alpha_sigma(log_snr: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma of log_snr (B,), shaped (B, 1, 1, 1) to multiply `like` (B, C, h, w), in its dtype and device."""
    wide = log_snr.to(device=like.device, dtype=torch.float64 if like.dtype == torch.float64 else torch.float32)
    wide = wide.view(-1, *[1] * (like.ndim - 1))
    return torch.sigmoid(wide).sqrt().to(like.dtype), torch.sigmoid(-wide).sqrt().to(like.dtype)


def add_noise(x0: Tensor, eps: Tensor, log_snr: Tensor) -> Tensor:
    """x_t = alpha x0 + sigma eps; x0 and eps (B, C, h, w), log_snr (B,)."""
    alpha, sigma = alpha_sigma(log_snr, x0)
    return alpha * x0 + sigma * eps


def output_to_x0(output: Tensor, x_t: Tensor, log_snr: Tensor, prediction: Prediction) -> Tensor:
    """x0_hat from what a network predicts: its eps, v or x0 (all (B, C, h, w))."""
    alpha, sigma = alpha_sigma(log_snr, x_t)
    if prediction == "v":
        return alpha * x_t - sigma * output
    if prediction == "eps":
        return (x_t - sigma * output) / alpha
    return output


def training_target(x0: Tensor, eps: Tensor, log_snr: Tensor, prediction: Prediction) -> Tensor:
    """What the network should have predicted, (B, C, h, w)."""
    if prediction == "v":
        alpha, sigma = alpha_sigma(log_snr, x0)
        return alpha * eps - sigma * x0
    return eps if prediction == "eps" else x0


def eps_error_factor(log_snr: Tensor, prediction: Prediction) -> Tensor:
    """||eps - eps_hat||^2 over the network's own squared error: 1 for eps, alpha^2 for v, SNR for x0; (B,)."""
    if prediction == "v":
        return torch.sigmoid(log_snr)
    return torch.exp(log_snr) if prediction == "x0" else torch.ones_like(log_snr)


def denoising_loss(denoiser: Denoiser, x0: Tensor, label: Tensor | None, noise: TrainingNoise) -> Tensor:
    """The training objective of any denoiser, weight * SNR * mean over (C, h, w) of (x0 - x0_hat)^2, per sample: (B,).

    SNR ||x0 - x0_hat||^2 is the squared eps error: the figure that learned denoisers report, to compare with.
    """
    x0_hat = denoiser(add_noise(x0, noise.eps, noise.log_snr), noise.log_snr, label)
    error = (x0 - x0_hat).float().square().flatten(1).mean(1)
    return noise.weight * eps_error_factor(noise.log_snr, "x0") * error


@dataclass(frozen=True)
class TrainingNoise:
    """One draw of the objective for a batch: log_snr (B,), eps (B, C, h, w), and the weight (B,) on the eps error.

    `coin` (B,), uniform in [0, 1), is what a denoiser decides by at random, such as whether a sample sees its label;
    1 for noise that is fixed.
    """

    log_snr: Tensor
    eps: Tensor
    weight: Tensor
    coin: Tensor


@dataclass(frozen=True)
class Objective:
    """How training samples noise levels (the schedule, t uniform and stratified) and weighs them."""

    schedule: NoiseSchedule
    weight: LossWeight

    def sample(self, x0: Tensor, generator: torch.Generator) -> TrainingNoise:
        """Noise for x0 (B, C, h, w): one t uniform in each stratum [i/B, (i+1)/B), strata dealt out at random.

        Strata lower the variance of the batch's loss over noise levels; dealing keeps places in the batch, which
        may belong to categories, from being bound to levels.
        """
        batch = len(x0)
        u = torch.rand(batch, generator=generator, device=x0.device).double().cpu()
        deal = torch.randperm(batch, generator=generator, device=x0.device).double().cpu()
        t = (deal + u) / batch
        eps = torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        return self._at(t, eps, torch.rand(batch, generator=generator, device=x0.device))

    def fixed(self, x0: Tensor, noise: ImageNoise, draw: int, draws: int) -> TrainingNoise:
        """The same for validation: t and eps depend on the image and the draw alone, so losses compare over steps.

        The `draws` of an image are evenly spaced in t, from a start of its own.
        """
        start = torch.tensor([_unit(noise.seed, key) for key in noise.keys.tolist()], dtype=torch.float64)
        eps = noise(x0, "selection", draw)
        return self._at((start + draw / draws) % 1.0, eps, torch.ones(len(x0), device=eps.device))

    def _at(self, t: Tensor, eps: Tensor, coin: Tensor) -> TrainingNoise:
        log_snr = self.schedule.log_snr(t)
        weight = self.weight(log_snr, self.schedule)
        return TrainingNoise(log_snr.to(eps.device, torch.float32), eps, weight.to(eps.device, torch.float32), coin)


@dataclass(frozen=True)
class ImageNoise:
    """Noise of an image that depends on the seed and on that image's content alone, never on its batch mates."""

    seed: int
    keys: Tensor  # (B,) int64, a hash of each image's pixels

    def __call__(self, x0: Tensor, level: float | str, draw: int) -> Tensor:
        """eps for draw number `draw` at noise level `level`, the shape, dtype and device of x0 (B, C, h, w).

        Drawn on the CPU, so that the same image meets the same noise on any device.
        """
        generator = torch.Generator()
        rows = []
        for key in self.keys.tolist():
            generator.manual_seed(seed_of(self.seed, key, level, draw))
            rows.append(torch.randn(x0.shape[1:], generator=generator))
        return torch.stack(rows).to(x0)


def ddim(
    denoiser: Denoiser,
    x_t: Tensor,
    label: Tensor | None,
    levels: Sequence[float],
    *,
    target: Tensor | None = None,
    guidance: float = 0.0,
) -> Tensor:
    """Denoise x_t (B, C, h, w) from levels[0] through the rest to x0 (Song et al. 2021, eq. 12, eta = 0).

    `levels` are increasing log-SNRs; k of them make k denoiser calls, the last one going to x0. On N(0, I) data the
    result is x_t times the product of the cosines of the angle steps, angle = arctan(sigma / alpha).
    With `target` (B, C, h, w) every step leans towards it by `guidance` (Mousakhan et al. 2023, DDAD, eq. 8):
    eps_hat - guidance sigma (target_t - x_t).
    """
    if any(b <= a for a, b in pairwise(levels)):
        raise ValueError(f"DDIM levels must be increasing log-SNRs, found {list(levels)}")
    for number, level in enumerate(levels):
        log_snr = torch.full((len(x_t),), level, device=x_t.device, dtype=x_t.dtype)
        alpha, sigma = alpha_sigma(log_snr, x_t)
        x0_hat = denoiser(x_t, log_snr, label)
        eps_hat = (x_t - alpha * x0_hat) / sigma
        if target is not None and guidance:
            towards = alpha * target + sigma * eps_hat
            eps_hat = eps_hat - guidance * sigma * (towards - x_t)
            x0_hat = (x_t - sigma * eps_hat) / alpha
        if number + 1 == len(levels):
            return x0_hat
        x_t = add_noise(x0_hat, eps_hat, torch.full_like(log_snr, levels[number + 1]))
    raise ValueError("DDIM needs at least one level")


def seed_of(*parts: object) -> int:
    """A generator seed, 63 bits, that is a function of `parts` (numbers and strings) alone."""
    text = ":".join(repr(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def _unit(*parts: object) -> float:
    """A number in [0, 1) that is a function of `parts`."""
    return seed_of(*parts) / 2**63
