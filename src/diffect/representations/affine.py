"""The affine stage of a representation: raw features to x0 of unit variance.

Statistics are shared by all cells or separate for each, shared by all images or separate for each category.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from diffect.config.check import checked
from diffect.config.types import NonNegativeFloat, PositiveFloat, PositiveInt
from diffect.representations.covariance import RunningCovariance, mean_patch
from diffect.representations.groups import apply_by_group, by_group, no_images

Scaling = Literal["raw", "scaled", "standard", "whitened"]
Statistics = Literal["shared", "cell"]

_CHUNK = 128  # covariances decomposed at a time, in float64


@checked
class Affine(nn.Module):
    """x0 = A (raw - m) at each of the P grid cells, with one m (C,) and A (C, C) for all cells, or for each.

    Statistics of each cell remove what depends on the position: the rim of a part, or the border of the image, where
    the backbone's zero padding changes the features. They rest on few samples, one an image, so the statistics of all
    cells are added as if they came from `prior` more images:

        v_p = (N s_p^2 + prior s^2) / (N + prior),   R_p = (N r_p + prior r) / (N + prior),

    where s_p^2 and r_p are the cell's variances and correlations over N images, s^2 and r their means over all cells.
    A variance counts as at least `floor` s^2, so that plain background, which hardly varies, is not amplified.

    Args:
        scales: channels of each scale of the pyramid.
        scaling: `raw`, one scalar for all channels, which changes no ratio of distances; `scaled`, one scalar per scale
            (channels keep their relative variance, each scale has mean variance 1);
            `standard`, every channel to unit variance; `whitened`, all channels decorrelated too, by the symmetric
            (ZCA) root, which changes every channel as little as possible.
        statistics: `shared` by all cells, or of each `cell`.
        prior, correlation_prior, floor: see above; for `cell`.
        shrinkage: added to the diagonal of the correlations before whitening.
        groups: G, how many categories have separate statistics; 1 if all share theirs, which needs no labels.
    """

    mean: Tensor  # (G, Q, C), Q = 1 or P
    matrix: Tensor  # of row vectors: (G, Q, C, C) for whitened, else the diagonals (G, Q, C)
    log_volume: Tensor  # log |det A|: (G, Q)

    def __init__(
        self,
        scales: Sequence[int],
        scaling: Scaling = "standard",
        statistics: Statistics = "shared",
        prior: PositiveFloat = 20.0,
        correlation_prior: PositiveFloat = 200.0,
        floor: NonNegativeFloat = 0.5,
        shrinkage: PositiveFloat = 1e-3,
        groups: PositiveInt = 1,
    ) -> None:
        super().__init__()
        self.scales, self.scaling, self.statistics = list(scales), scaling, statistics
        self.prior, self.correlation_prior, self.floor, self.shrinkage = prior, correlation_prior, floor, shrinkage
        self.groups = groups
        # The identity before the fit, which sizes statistics of each cell: their number is not known before.
        sets, channels = 1 if statistics == "shared" else 0, sum(scales)
        identity = torch.eye(channels) if scaling == "whitened" else torch.ones(channels)
        self.register_buffer("mean", torch.zeros(groups, sets, channels))
        self.register_buffer("matrix", identity.repeat(groups, sets, *[1] * identity.ndim))
        self.register_buffer("log_volume", torch.zeros(groups, sets))

    def forward(self, raw: Tensor, label: Tensor | None = None) -> Tensor:
        """x0 (B, C, *grid) from raw (B, C, *grid) and labels (B,)."""
        return self._forward(0, raw) if self.groups == 1 else apply_by_group(self._forward, label, self.groups, raw)

    def inverse(self, x0: Tensor, label: Tensor | None = None) -> Tensor:
        """raw (B, C, *grid) from x0 (B, C, *grid) and labels (B,)."""
        return self._inverse(0, x0) if self.groups == 1 else apply_by_group(self._inverse, label, self.groups, x0)

    def likeliest(self, raw: Tensor) -> Tensor:
        """The group (B,) of each raw (B, C, *grid): the one with the greatest median over cells of the log-density

            log |det A| - ||A (raw - m)||^2 / 2 + constant.

        Quadratic discriminant analysis (Hastie et al. 2009, section 4.3) cell by cell; with a median, a defect on less
        than half of an image hardly matters.
        """
        medians = []
        for group in range(self.groups):
            squared = self._forward(group, raw).square().sum(1).flatten(1)  # (B, P)
            medians.append((self.log_volume[group] - squared / 2).nanmedian(1).values)
        return torch.stack(medians).argmax(0)

    def _forward(self, group: int, raw: Tensor) -> Tensor:
        mean, matrix = self.mean[group], self.matrix[group]
        patches = raw.flatten(2).permute(2, 0, 1) - mean[:, None]  # (P, B, C)
        if matrix.ndim == 2:
            patches = patches * matrix[:, None]
        elif len(matrix) == 1:
            patches = patches @ matrix[0]
        else:
            patches = torch.bmm(patches, matrix)
        return patches.permute(1, 2, 0).unflatten(2, raw.shape[2:])

    def _inverse(self, group: int, x0: Tensor) -> Tensor:
        mean, matrix = self.mean[group], self.matrix[group]
        patches = x0.flatten(2).permute(2, 0, 1)  # (P, B, C)
        # Rows y = x A, so that A^T x^T = y^T.
        diagonal = matrix.ndim == 2
        centred = patches / matrix[:, None] if diagonal else torch.linalg.solve(matrix.mT, patches.mT).mT
        return (centred + mean[:, None]).permute(1, 2, 0).unflatten(2, x0.shape[2:])

    @torch.no_grad()
    def fit(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Means and matrices from batches of raw (B, C, *grid) and labels of normal training images, in one pass.

        Products are taken about the mean of a group's images in the first batch that holds any, which keeps float32
        sums exact enough. Missing cells are left out; a cell that is missing in all images gets the statistics of all.
        """
        by_cell, sums = self.statistics == "cell", dict[int, tuple[RunningCovariance, Tensor]]()
        for raw, label in batches:
            for group, rows in by_group(label, self.groups, len(raw)):
                patches = raw[rows].flatten(2).permute(2, 0, 1)  # (P, B, C)
                if group not in sums:
                    shift = mean_patch(patches, by_cell)
                    sums[group] = RunningCovariance(len(patches), len(patches) if by_cell else 1, shift), shift
                moments, shift = sums[group]
                moments.add(patches - shift[:, None])
        if len(sums) < self.groups:
            counts = [sums[group][0].count if group in sums else 0 for group in range(self.groups)]
            raise ValueError(no_images("the representation", counts))
        means, matrices = zip(*(self._solved(*sums[group]) for group in range(self.groups)), strict=True)
        self.mean, self.matrix = torch.stack(means), torch.stack(matrices)
        self.log_volume = torch.stack([_log_volume(group) for group in self.matrix])

    def _solved(self, moments: RunningCovariance, shift: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and matrix of a group from its moments about `shift`."""
        centre = moments.average if self.statistics == "cell" else moments.overall
        mean = shift + centre
        return mean, self._matrices(moments, centre).to(mean)

    def _matrices(self, moments: RunningCovariance, centre: Tensor) -> Tensor:
        groups = len(moments.second)
        samples, known = moments.samples[:, None], moments.samples > 0
        chunks = [slice(start, start + _CHUNK) for start in range(0, groups, _CHUNK)]
        variances = torch.cat([_variances(moments.covariance(centre, chunk)) for chunk in chunks])  # (G, C)
        if self.statistics == "cell":
            usual = variances[known].mean(0)
            variances = torch.maximum(_mixed(variances, usual, samples, self.prior), self.floor * usual)
        if self.scaling == "standard":
            return variances.rsqrt()
        if self.scaling in ("raw", "scaled"):
            sizes = self.scales if self.scaling == "scaled" else sum(self.scales)
            scales = [scale.mean(1, keepdim=True).expand_as(scale) for scale in variances.split(sizes, dim=1)]
            return torch.cat(scales, dim=1).rsqrt()
        # Correlations are whitened, not covariances: scales of large raw variance must not dominate the others.
        std = variances.sqrt()

        def correlations(chunk: slice) -> Tensor:
            return moments.covariance(centre, chunk) / (std[chunk][:, :, None] * std[chunk][:, None])

        channels = std.shape[1]
        pooled = sum((correlations(chunk).sum(0) for chunk in chunks), start=std.new_zeros(channels, channels))
        pooled = pooled / known.sum()
        prior = self.correlation_prior if self.statistics == "cell" else 0.0
        mixed = (_mixed(correlations(chunk), pooled, samples[chunk, :, None], prior) for chunk in chunks)
        return torch.cat([self._root(one) / std[chunk][:, :, None] for one, chunk in zip(mixed, chunks, strict=True)])

    def _root(self, correlations: Tensor) -> Tensor:
        """(R + shrinkage I)^-1/2 (G, C, C), scaled to mean variance 1, which shrinkage reduces."""
        values, vectors = torch.linalg.eigh(correlations)
        values = values.clamp(min=0)
        achieved = (values / (values + self.shrinkage)).mean(1, keepdim=True)
        root = ((values + self.shrinkage) * achieved).rsqrt()
        return (vectors * root[:, None]) @ vectors.mT


def _mixed(cell: Tensor, pooled: Tensor, samples: Tensor, prior: float) -> Tensor:
    """The statistics of each cell with the pooled ones as `prior` more samples."""
    return (samples * cell + prior * pooled) / (samples + prior)


def _log_volume(matrix: Tensor) -> Tensor:
    """log |det A| (Q,) of matrices (Q, C, C), or of their diagonals (Q, C)."""
    if matrix.ndim == 2:
        return matrix.double().log().sum(1).to(matrix)
    return torch.cat([torch.linalg.slogdet(part.double())[1] for part in matrix.split(_CHUNK)]).to(matrix)


def _variances(covariances: Tensor) -> Tensor:
    return covariances.diagonal(dim1=1, dim2=2).clamp(min=1e-8)
