"""The denoising error: how far one step of the denoiser is from an image."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from diffect.config.check import checked
from diffect.config.description import enumerated
from diffect.config.types import Levels, NonNegativeInt, PositiveFloat, Supplied
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.process import Denoise
from diffect.representations.covariance import RunningCovariance
from diffect.scorers.base import Origin, Scorer, noised, noised_in_words


@checked
class DenoisingError(Scorer):
    """E |r|^2 / C over noise draws, r = x0 - x0_hat(x_t), one component for each log-SNR level.

    With metric=mahalanobis it is E (r - m)^T (S + shrinkage tr(S) / C I)^-1 (r - m) / C, where m and S are the mean and
    the covariance of r at that level on normal images, over all positions: errors that normal images have too count
    less.

    Args:
        channels: of each scale.
        levels: log-SNRs at which the image is noised, in nats; never step numbers.
        draws: noise draws at each level; 0 for the un-noised x_t = alpha x0.
        metric: `plain` or `mahalanobis`, as above.
        scales: `fused`, one component for all scales, or `separate`, one for each scale from its channels alone, with C
            and S of these channels.
        shrinkage: see above.
    """

    mean: Tensor
    whitening: Tensor

    def __init__(
        self,
        channels: Supplied[Sequence[int]],
        levels: Levels = (-1.0, 1.0, 3.0),
        draws: NonNegativeInt = 1,
        metric: Literal["plain", "mahalanobis"] = "plain",
        scales: Literal["fused", "separate"] = "fused",
        shrinkage: PositiveFloat = 0.01,
    ) -> None:
        # With a single scale the two are the same.
        separate = scales == "separate" and len(channels) > 1
        parts = range(len(channels)) if separate else [None]
        super().__init__(channels, [Origin(float(level), part) for level in levels for part in parts], levels)
        self.draws, self.metric, self.scales, self.shrinkage = draws, metric, scales, shrinkage
        self.groups = self.channels if separate else [sum(channels)]  # channels that share an error
        if metric == "mahalanobis":
            self.register_buffer("mean", torch.zeros(len(self.levels), sum(channels)))
            self.register_buffer("whitening", torch.eye(sum(channels)).repeat(len(self.levels), 1, 1))

    def describe(self) -> str:
        metric = "squared" if self.metric == "plain" else "in the metric of the residuals' covariance on normal images"
        scales = ", each scale by itself" if len(self.groups) > 1 else ""
        return (
            f"the denoising error at log-SNR {enumerated(self.levels)}, {noised_in_words(self.draws)}, {metric}{scales}"
        )

    def forward(self, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        """Components (B, K, *grid), the scales of one level side by side."""
        components = []
        for number, level in enumerate(self.levels):
            draws = [self._error(number, r) for r in self._residuals(level, denoiser, x0, label, noise)]
            components.append(torch.stack(draws).mean(0))
        return torch.cat(components, dim=1)

    @torch.no_grad()
    def fit(self, denoiser: Denoise, batches: Iterable[tuple[Tensor, Tensor, ImageNoise]]) -> None:
        """Estimate m and S of every level in one pass over (x0 (B, C, *grid), label (B,), noise)."""
        if self.metric == "plain":
            return
        sums = [RunningCovariance(1, 1, self.mean.double()) for _ in self.levels]
        for x0, label, noise in batches:
            for moments, level in zip(sums, self.levels, strict=True):
                for residual in self._residuals(level, denoiser, x0, label, noise):
                    moments.add(residual.movedim(1, -1).flatten(0, -2)[None].double())  # (1, B P, C)
        for number, (moments, level) in enumerate(zip(sums, self.levels, strict=True)):
            (covariance,) = moments.covariance(moments.average, slice(None))
            self.mean[number] = moments.average[0]
            self.whitening[number] = self._whitening(level, covariance)

    def _residuals(
        self, level: float, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise
    ) -> Iterator[Tensor]:
        """x0 - x0_hat (B, C, *grid) of each draw; a single one, without noise, for no draws."""
        for x_t, log_snr in noised(x0, level, self.draws, noise):
            yield x0 - denoiser(x_t, log_snr, label)

    def _error(self, number: int, residual: Tensor) -> Tensor:
        """(B, G, *grid) from residuals (B, C, *grid) at a level, G groups of channels."""
        if self.metric == "mahalanobis":
            centred = residual - self.mean[number].view(-1, *[1] * (residual.ndim - 2))
            residual = torch.einsum("dc,bc...->bd...", self.whitening[number], centred)
        return torch.stack([group.mean(1) for group in residual.square().split(self.groups, dim=1)], dim=1)

    def _whitening(self, level: float, covariance: Tensor) -> Tensor:
        """W (C, C) with W^T W the inverse of the shrunk covariance, group by group."""
        roots, start = [], 0
        for size in self.groups:
            block = covariance[start : start + size, start : start + size]
            variance = block.diagonal().mean()
            if variance < 1e-10:
                raise ValueError(
                    f"scorer.metric is mahalanobis, but at log-SNR {level:g} the denoiser makes no error on the images "
                    "that it was fitted on: take scorer.metric=plain or lower scorer.levels"
                )
            identity = torch.eye(size, dtype=block.dtype, device=block.device)
            root = torch.linalg.cholesky(block + self.shrinkage * variance * identity)
            roots.append(torch.linalg.solve_triangular(root, identity, upper=False))
            start += size
        return torch.block_diag(*roots)
