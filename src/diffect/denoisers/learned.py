"""A denoiser that is trained: a network, what it predicts, and classifier-free guidance."""

from collections.abc import Callable, Sequence
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor

from diffect.config.check import checked
from diffect.config.types import NonNegativeFloat, PositiveInt, Supplied
from diffect.denoisers.base import Denoiser, Learner, Network
from diffect.diffusion.objective import TrainingNoise
from diffect.diffusion.process import PredictionType, add_noise, eps_error_factor, output_to_x0, training_target
from diffect.representations.groups import group_count, required_labels

_PREDICTIONS = {
    "v": "predicts v [@salimans2022progressive]",
    "eps": "predicts the noise [@ho2020ddpm]",
    "x0": "predicts the clean input",
}


@checked
class LearnedDenoiser(Denoiser, Learner):
    """x0_hat = denoiser(x_t, log_snr, label), from a network that predicts eps, v or x0.

    With v-prediction x0_hat = alpha x_t - sigma output, which is EDM's preconditioning for unit-variance data
    (Karras et al. 2022, table 1): the network's input and target have unit variance at every level.

    If it is conditional, a sample without a label is denoised by the posterior mean under the mixture of categories,
    which the network learns from samples whose label is dropped. Guidance leads away from that mean.

    With `variance_weight` the network also predicts the log-variance of its error at each cell, one for each scale, and
    is trained by the Gaussian negative log-likelihood of that error too (Nix & Weigend 1994). The likelihood takes the
    error as given: it trains the variance, and a large variance cannot excuse a bad mean (Seitzer et al. 2022).

    Args:
        network: called as network(shape=(C, *grid), classes=n, outputs=K) -> `Network`; n is 0 without conditioning,
            else the number of categories plus one for "no label", which is index n - 1.
        shape, classes, channels: see `Denoiser`.
        prediction: what the network predicts.
        conditional: whether the network sees the category, if there are several.
        label_dropout: share of training samples without label (Ho & Salimans 2022); with 0 every image needs a label,
            since "no label" is not learned.
        guidance: x0_hat = x0_c + guidance (x0_c - x0_no_label); 0 is plain conditioning.
        variance_weight: of the likelihood in the loss; 0: no variance is learned.
    """

    def __init__(
        self,
        network: Callable[..., Network],
        shape: Supplied[Sequence[int]],
        classes: Supplied[PositiveInt] = 1,
        prediction: PredictionType = "v",
        conditional: bool = True,
        label_dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
        guidance: float = 0.0,
        variance_weight: NonNegativeFloat = 0.0,
        channels: Supplied[Sequence[int] | None] = None,
    ) -> None:
        super().__init__(shape, classes, channels)
        self.prediction = prediction
        self.groups = group_count(classes, conditional)
        self.label_dropout, self.guidance, self.variance_weight = label_dropout, guidance, variance_weight
        if guidance and (self.groups == 1 or label_dropout == 0):
            raise ValueError(
                f"denoiser.guidance is {guidance}, but guidance needs several categories in one run, "
                "conditional=true and denoiser.label_dropout above 0"
            )
        self.outputs = [self.shape[0], len(self.channels) if variance_weight else 0]  # channels of mean and variance
        seen = self.groups + 1 if self.groups > 1 else 0
        self.network = network(shape=shape, classes=seen, outputs=sum(self.outputs))
        if not isinstance(self.network, Network):
            raise ValueError(
                f"denoiser.network is a {type(self.network).__name__}, which must derive from "
                "diffect.denoisers.base.Network"
            )
        self.cellwise = self.network.cellwise

    def describe(self) -> str:
        guided = f", with classifier-free guidance {self.guidance:g} [@ho2022guidance]" if self.guidance else ""
        variance = " and, for each scale, the variance of its error" if self.variance_weight else ""
        return f"{self.network.describe()}, which {_PREDICTIONS[self.prediction]}{variance}{guided}"

    def forward(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """x0_hat (B, C, *grid); label None means "no label"."""
        return self.posterior(x_t, log_snr, label)[0]

    def posterior(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x0_hat (B, C, *grid) and log E (x0 - x0_hat)^2 (B, S, *grid) of each of S scales; S is 0 if not learned."""
        label = self._condition(label, x_t)
        output, log_variance = self._outputs(x_t, log_snr, label)
        if self.guidance:
            output = output + self.guidance * (output - self._outputs(x_t, log_snr, self._blank(x_t))[0])
        factor = eps_error_factor(log_snr, self.prediction) / eps_error_factor(log_snr, "x0")
        around = factor.log().view(-1, *[1] * (x_t.ndim - 1))
        return output_to_x0(output, x_t, log_snr, self.prediction), log_variance + around

    def loss(self, x0: Tensor, label: Tensor | None, noise: TrainingNoise) -> Tensor:
        """weight * mean over (C, *grid) of the squared eps error, per sample: (B,); plus the likelihood, if chosen.

        Computed on the network's target and converted by the exact factor, so that nothing is divided by a small sigma.
        The likelihood, mean of log variance + error / variance, counts equally at every level that is drawn.
        """
        x_t = add_noise(x0, noise.eps, noise.log_snr)
        label = self._condition(label, x0)
        if label is not None and self.training:
            label = torch.where(noise.coin < self.label_dropout, self._blank(x0), label)
        output, log_variance = self._outputs(x_t, noise.log_snr, label)
        error = (output - training_target(x0, noise.eps, noise.log_snr, self.prediction)).float().square()
        loss = noise.weight * eps_error_factor(noise.log_snr, self.prediction) * error.flatten(1).mean(1)
        if not self.variance_weight:
            return loss
        likelihood = gaussian_error(error.detach(), log_variance.float(), self.channels).flatten(1).mean(1)
        return loss + self.variance_weight * likelihood

    def _outputs(self, x: Tensor, log_snr: Tensor, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """The network's prediction (B, C, *grid), and the log-variance (B, S, *grid) of its error."""
        output, log_variance = self.network(x, log_snr, label).split_with_sizes(self.outputs, dim=1)
        return output, log_variance

    def _condition(self, label: Tensor | None, x: Tensor) -> Tensor | None:
        """The labels (B,) that the network sees for x (B, C, *grid); None if it is not conditional."""
        if self.groups == 1:
            return None
        if label is None and self.label_dropout:
            return self._blank(x)
        return required_labels(label, self.groups)

    def _blank(self, x: Tensor) -> Tensor:
        """The label (B,) that means "no label"."""
        return torch.full((len(x),), self.groups, device=x.device)


def gaussian_error(error: Tensor, log_variance: Tensor, channels: Sequence[int]) -> Tensor:
    """Mean over channels of log variance + error / variance, -2 log N less a constant: (B, *grid).

    Args:
        error: squared, (B, C, *grid).
        log_variance: of each scale, (B, S, *grid).
        channels: of each scale, which make up C.
    """
    shares = [
        size / sum(channels) * (log + part.mean(1) * torch.exp(-log))
        for size, log, part in zip(channels, log_variance.unbind(1), error.split(list(channels), dim=1), strict=True)
    ]
    return torch.stack(shares).sum(0)


class NoDenoiser(Denoiser):
    """The placeholder for scorers that learn by steps and need no denoiser; it must not be called."""

    absent = True

    def describe(self) -> str:
        return "absent: the scorer itself learns"

    def forward(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        raise ValueError("denoiser=none cannot denoise, but the scorer needs a denoiser; choose another denoiser")
