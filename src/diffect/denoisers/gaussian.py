"""The Gaussian in closed form: the Wiener filter as denoiser, the Mahalanobis distance as density."""

import logging
import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from diffect.config.check import checked
from diffect.config.types import PositiveInt, Share, Supplied
from diffect.denoisers.base import ClosedForm
from diffect.diffusion.process import alpha_sigma
from diffect.representations.covariance import RunningCovariance, mean_patch
from diffect.representations.groups import apply_by_group, by_group, group_count, no_images

Where = Literal["cell", "shared"]

logger = logging.getLogger(__name__)
_CHUNK = 128  # covariances taken apart at a time, in float64


@checked
class Gaussian(ClosedForm):
    """x0 ~ N(mu, Sigma) at each grid cell, so that the posterior mean is the Wiener filter.

    E[x0|x_t] = mu + alpha Sigma (alpha^2 Sigma + sigma^2 I)^-1 (x_t - alpha mu).
    -2 log p_t(x_t), less its log-determinant and constant, is the squared Mahalanobis distance of x_t / alpha under
    Sigma + (sigma / alpha)^2 I: PaDiM (Defard et al. 2020, eq. 2), its regulariser being the noise variance (0.01
    there: log-SNR 4.6). Sigma is kept as its eigenvectors and eigenvalues, so that any level costs two products.

    Args:
        shape, classes, channels: see `Denoiser`.
        mean, covariance: `cell`, one for each grid cell, or `shared` by all cells.
        shrinkage: share of Sigma that is replaced by its mean variance times I: a number in [0, 1], or `oas`, the
            optimal share for Gaussian data at this sample size (Chen et al. 2010, eq. 23).
        conditional: one Gaussian for each category, which needs labels; else a single one of all images.
    """

    mean: Tensor
    vectors: Tensor
    values: Tensor

    def __init__(
        self,
        shape: Supplied[Sequence[int]],
        classes: Supplied[PositiveInt] = 1,
        mean: Where = "cell",
        covariance: Where = "cell",
        shrinkage: Share | Literal["oas"] = "oas",
        conditional: bool = True,
        channels: Supplied[Sequence[int] | None] = None,
    ) -> None:
        super().__init__(shape, classes, channels)
        self.shrinkage, self.mean_of, self.covariance_of = shrinkage, mean, covariance
        self.groups, size, cells = group_count(classes, conditional), self.shape[0], math.prod(self.grid)
        spreads = cells if covariance == "cell" else 1
        # Before the fit N(0, I): x0 has unit variance.
        self.register_buffer("mean", torch.zeros(self.groups, cells if mean == "cell" else 1, size))
        self.register_buffer("vectors", torch.eye(size).repeat(self.groups, spreads, 1, 1))
        self.register_buffer("values", torch.ones(self.groups, spreads, size))

    def describe(self) -> str:
        where = {"cell": "of each cell", "shared": "shared by all cells"}
        shrunk = f"shrunk by {self.shrinkage}"
        if self.shrinkage == "oas":
            shrunk = "shrunk by the optimal amount for the sample size [@chen2010shrinkage]"
        fit = f"mean {where[self.mean_of]}, covariance {where[self.covariance_of]}, {shrunk}"
        return f"the exact optimum for Gaussian data, a Wiener filter ({fit}), as in PaDiM [@defard2021padim]"

    def forward(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """x0_hat (B, C, *grid), by the Gaussian of each image's category."""
        return apply_by_group(self._mean, label, self.groups, x_t, log_snr)

    def log_density(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """log N(x_t; alpha mu, alpha^2 Sigma + sigma^2 I) at each position, in nats: (B, *grid)."""
        return self.log_normaliser(log_snr, label) - 0.5 * self.mahalanobis(x_t, log_snr, label)

    def mahalanobis(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """(x_t - alpha mu)^T (alpha^2 Sigma + sigma^2 I)^-1 (x_t - alpha mu) at each position: (B, *grid)."""
        return apply_by_group(self._squared_distance, label, self.groups, x_t, log_snr)

    def log_normaliser(self, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """-1/2 log det(2 pi (alpha^2 Sigma + sigma^2 I)) at each position: (B, *grid)."""
        return apply_by_group(self._log_normaliser, label, self.groups, log_snr)

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Estimate means and covariances of x0 (B, C, *grid) by category, in one pass; batches may come in any order.

        Sums have the precision of the buffers, eigenvectors are computed in float64. A covariance of no more samples
        than channels is singular; a warning then says what is done about it. Missing cells are left out; where fewer
        than two images have a cell, it keeps N(0, I).
        """
        cells, spreads = math.prod(self.grid), self.values.shape[1]
        sums = [RunningCovariance(cells, spreads, self.mean) for _ in range(self.groups)]
        shift = None
        for x0, label in batches:
            patches = _patches(x0.to(self.mean))
            if shift is None:
                shift = mean_patch(patches, self.mean_of == "cell")
            for group, rows in by_group(label, self.groups, len(x0)):
                sums[group].add(patches[:, rows] - shift[:, None])
        fewest = min(moments.count for moments in sums)
        if shift is None or not fewest:
            raise ValueError(no_images("denoiser=gaussian", [moments.count for moments in sums]))
        if fewest < 2 and self.mean_of == "cell":
            raise ValueError(
                f"denoiser.mean is cell, which needs 2 images or more of each category to fit on; there is {fewest}: "
                "take denoiser.mean=shared"
            )
        for group, moments in enumerate(sums):
            self._solve(group, moments, shift)
        self._warn(fewest * (cells // spreads))

    def _solve(self, group: int, moments: RunningCovariance, shift: Tensor) -> None:
        """Fill the buffers of one category; the moments are about `shift` (P or 1, C)."""
        centre = moments.average if self.mean_of == "cell" else moments.overall
        self.mean[group] = shift + centre
        cells, spreads = len(moments.first), len(moments.second)
        fitted = cells // spreads if self.mean_of == "cell" else 0  # the mean of a cell takes one degree of freedom
        samples = (moments.samples - fitted)[:, None]
        for start in range(0, spreads, _CHUNK):
            some = slice(start, start + _CHUNK)
            values, vectors = torch.linalg.eigh(moments.covariance(centre, some, fitted))
            values = values.clamp(min=0)
            share = oas_share(values, samples[some]) if self.shrinkage == "oas" else self.shrinkage
            shrunk = (1 - share) * values + share * values.mean(1, keepdim=True)
            self.values[group, some] = torch.where(samples[some] > 0, shrunk, 1.0).to(self.values)
            self.vectors[group, some] = vectors

    def _warn(self, samples: int) -> None:
        """Warn where a covariance has no more samples than channels."""
        channels = self.values.shape[2]
        if samples > channels:
            return
        done = "is regularised by the noise alone" if self.shrinkage == 0 else "is shrunk towards a multiple of I"
        settings = f"denoiser.shrinkage={self.shrinkage}, denoiser.covariance={self.covariance_of}"
        text = "denoiser=gaussian has %d samples for a covariance of %d channels, which %s (%s)"
        logger.warning(text, samples, channels, done, settings)

    def _mean(self, group: int, x_t: Tensor, log_snr: Tensor) -> Tensor:
        along, spread, alpha = self._along(group, x_t, log_snr)
        gain = alpha * self.values[group][:, None] / spread
        mean = self.mean[group][:, None] + _turn(gain * along, self.vectors[group].mT)
        return mean.permute(1, 2, 0).unflatten(2, self.grid)

    def _squared_distance(self, group: int, x_t: Tensor, log_snr: Tensor) -> Tensor:
        along, spread, _ = self._along(group, x_t, log_snr)
        return (along.square() / spread).sum(2).mT.unflatten(1, self.grid)

    def _log_normaliser(self, group: int, log_snr: Tensor) -> Tensor:
        half = -0.5 * (2 * math.pi * self._spread(group, log_snr)[0]).log().sum(2).mT  # (B, P or 1)
        return half.expand(-1, math.prod(self.grid)).unflatten(1, self.grid)

    def _along(self, group: int, x_t: Tensor, log_snr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x_t - alpha mu along the axes of Sigma (P, B, C), its variances (P or 1, B, C), and alpha (B, 1)."""
        spread, alpha = self._spread(group, log_snr)
        return _turn(_patches(x_t) - alpha * self.mean[group][:, None], self.vectors[group]), spread, alpha

    def _spread(self, group: int, log_snr: Tensor) -> tuple[Tensor, Tensor]:
        """The eigenvalues of alpha^2 Sigma + sigma^2 I (P or 1, B, C), and alpha (B, 1)."""
        alpha, sigma = alpha_sigma(log_snr, self.values[0, 0, None].expand(len(log_snr), -1))
        return alpha**2 * self.values[group][:, None] + sigma**2, alpha


def oas_share(values: Tensor, samples: Tensor | int) -> Tensor:
    """Oracle-approximating shrinkage (..., 1) for eigenvalues (..., C) of covariances (Chen et al. 2010, eq. 23).

    `samples` is one number for all covariances, or (..., 1).
    """
    channels = values.shape[-1]
    squares, trace2 = values.square().sum(-1, keepdim=True), values.sum(-1, keepdim=True).square()
    above = (1 - 2 / channels) * squares + trace2
    below = (samples + 1 - 2 / channels) * (squares - trace2 / channels)
    # Where all eigenvalues are equal there is nothing to shrink: 1 and 0 are the same.
    return torch.where(below > above, above / below, 1.0)


def _patches(x: Tensor) -> Tensor:
    """(P, B, C), the P cells first, from (B, C, *grid)."""
    return x.flatten(2).permute(2, 0, 1)


def _turn(patches: Tensor, axes: Tensor) -> Tensor:
    """Patches (P, B, C) times axes (P or 1, C, C)."""
    return (patches.reshape(len(axes), -1, patches.shape[2]) @ axes).reshape(patches.shape)
