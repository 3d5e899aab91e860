"""Diffusion time: how noisy a clean patch looks to a network that classifies noise levels."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffect.config.check import checked
from diffect.config.description import enumerated
from diffect.config.types import Levels, PositiveInt, Supplied
from diffect.denoisers.base import Learner
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.objective import TrainingNoise
from diffect.diffusion.process import Denoise
from diffect.representations.covariance import RunningCovariance
from diffect.scorers.base import Scorer

MARGIN = 0.5  # of the hinge
SHRINKAGE = 1e-3  # share of the mean variance added to the noise's covariance


@checked
class DiffusionTime(Scorer, Learner):
    """log(mean_k p_k(x0) / p_0(x0)) at each position, p_k being the density of x0 + exp(-levels[k] / 2) eps.

    A network that is trained to classify patches as clean (half of them) or as noised at level k (equal shares of the
    rest) estimates these ratios, and gives them for an un-noised test patch in one pass: density ratio estimation
    (Livernoche et al. 2024, "On diffusion modeling for anomaly detection"). With one level, a hinge and an adaptor it
    is SimpleNet's discriminator (Liu et al. 2023) less its batch norm.

    Patches are noised as x_t / alpha = x0 + sigma / alpha eps: x_t itself, with noise of the data's covariance, would
    have that covariance at all levels, so that levels of Gaussian data could not be distinguished. From the objective
    the scorer takes eps only, not the levels and weights of the schedule. It ignores categories.

    Args:
        channels: of each scale.
        levels: log-SNRs of the noisy classes, in nats, for patches of unit variance; sigma = exp(-level / 2).
        criterion: `cross_entropy`, or `hinge`, max(0, 1/2 + s(x0)) + max(0, 1/2 - s(x0 + sigma eps)) for the score s
            and a single level.
        noise: `isotropic`, or `covariance`: eps has the covariance of the training patches seen so far. Isotropic noise
            is most visible in directions in which the data hardly vary. So are defects: on patches that are not
            whitened it was the better of the two.
        adaptor: one linear layer before the noise, initially the identity; isotropic noise only. It lowers the loss by
            shrinking the data below the noise: trained for long it removes them.
        width, depth: hidden layers of the network, which sees each position alone.
    """

    def __init__(
        self,
        channels: Supplied[Sequence[int]],
        levels: Levels = (0.0, 1.5, 3.0, 4.5),
        criterion: Literal["cross_entropy", "hinge"] = "cross_entropy",
        noise: Literal["isotropic", "covariance"] = "isotropic",
        adaptor: bool = False,
        width: PositiveInt = 256,
        depth: PositiveInt = 2,
    ) -> None:
        if criterion == "hinge" and len(levels) != 1:
            raise ValueError(f"scorer.criterion=hinge takes one level; scorer.levels is {levels}")
        if adaptor and noise == "covariance":
            raise ValueError(
                "scorer.adaptor=true needs scorer.noise=isotropic: noise of the data's covariance goes through a "
                "linear layer as the data do, so that it would change nothing"
            )
        super().__init__(channels, levels=levels)
        self.criterion, self.noise = criterion, noise
        size = sum(channels)
        self.adaptor: nn.Module = nn.Identity()
        if adaptor:
            self.adaptor = nn.Linear(size, size)
            nn.init.eye_(self.adaptor.weight)
            nn.init.zeros_(self.adaptor.bias)
        layers: list[nn.Module] = []
        for inputs in (size, *[width] * (depth - 1)):
            layers += [nn.Linear(inputs, width), nn.LeakyReLU(0.2)]
        last = nn.Linear(width, len(self.levels) + 1)
        # Start from the prior: if the weights had to learn it, patches far from all data would look clean.
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        last.bias.data[0] = math.log(len(self.levels))
        self.network = nn.Sequential(*layers, last)
        if noise == "covariance":
            self.moments = RunningCovariance(1, 1, torch.zeros(size, dtype=torch.float64))  # of the training patches

    def describe(self) -> str:
        levels = f"log-SNR {enumerated(self.levels)}"
        if self.criterion == "hinge":
            adaptor = " behind a linear adaptor" if isinstance(self.adaptor, nn.Linear) else ""
            return (
                f"a discriminator between clean and noised patches{adaptor}, trained with a hinge loss at {levels}, "
                "after SimpleNet [@liu2023simplenet]"
            )
        return f"how noisy its patches look to a classifier of noise levels [@livernoche2024diffusion] at {levels}"

    def forward(self, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        """(B, 1, *grid), in nats; draws no noise."""
        return self._ratio(self.network(self.adaptor(x0.movedim(1, -1))))[:, None]

    def loss(self, x0: Tensor, label: Tensor | None, noise: TrainingNoise) -> Tensor:
        """Penalty of the clean patches plus the mean over levels of that of the noisy ones, per sample: (B,)."""
        patches = x0.movedim(1, -1)  # (B, *grid, C)
        eps = noise.eps.movedim(1, -1)
        if self.noise == "covariance":
            if self.training:
                self.moments.add(patches.detach().flatten(0, -2)[None].double())
            eps = eps @ self._root().to(eps).T
        clean = self.adaptor(patches)
        penalty = self._penalty(self.network(clean), 0)
        for number, level in enumerate(self.levels, start=1):
            noisy = clean + math.exp(-level / 2) * eps
            penalty = penalty + self._penalty(self.network(noisy), number) / len(self.levels)
        return penalty.flatten(1).mean(1)

    def _penalty(self, logits: Tensor, truth: int) -> Tensor:
        """The cost (B, *grid) of logits (B, *grid, K + 1) where class `truth` is true; class 0 is clean."""
        if self.criterion == "hinge":
            return F.relu(MARGIN + self._ratio(logits) * (1 if truth == 0 else -1))
        return -F.log_softmax(logits.float(), dim=-1)[..., truth]

    def _ratio(self, logits: Tensor) -> Tensor:
        """log(P(noisy) / P(clean)) (B, *grid): the ratio of the densities, with priors 1/2. It never saturates."""
        logits = logits.float()
        return logits[..., 1:].logsumexp(-1) - logits[..., 0]

    @torch.no_grad()
    def _root(self) -> Tensor:
        """L (C, C), lower triangular, with L L^T the covariance of the patches added so far; before any, I."""
        if not self.moments.count:
            return torch.eye(sum(self.channels), dtype=torch.float64, device=self.moments.first.device)
        (covariance,) = self.moments.covariance(self.moments.average, slice(None))
        covariance.diagonal().add_(SHRINKAGE * covariance.diagonal().mean())
        root: Tensor = torch.linalg.cholesky(covariance)
        return root
