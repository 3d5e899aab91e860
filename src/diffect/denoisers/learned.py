"""A denoiser that learns by steps: a network, what it predicts, and classifier-free guidance."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from diffect.diffusion.objective import TrainingNoise
from diffect.diffusion.process import PredictionType, add_noise, eps_error_factor, output_to_x0, training_target
from diffect.representations.groups import group_count, known


class LearnedDenoiser(nn.Module):
    """x0_hat = denoiser(x_t, log_snr, label), from a network that predicts eps, v or x0.

    With v-prediction x0_hat = alpha x_t - sigma output, which is EDM's preconditioning for unit-variance data
    (Karras et al. 2022, table 1): the network's input and target have unit variance at every level.

    Where it is told the category, a sample without a label gets the guess for an image of any category: the posterior
    mean under the mixture of all, which the network learns from the samples whose label is dropped, and from which
    guidance leads away.

    Args:
        network: called as network(shape=(C, h, w), classes=n) -> nn.Module with forward(x, log_snr, label);
            n is 0 where no category is told, else the number of categories plus one "no label" at index n - 1.
        shape: (C, h, w) of x0.
        classes: how many categories there are; conditioning exists only where there are two or more.
        conditional: whether the network is told the category.
        label_dropout: share of training samples that see no label (Ho & Salimans 2022); with 0 a label is asked for,
            as "no label" has never been learned.
        guidance: x0_hat = x0_c + guidance (x0_c - x0_no_label); 0 is plain conditioning.
    """

    def __init__(
        self,
        network: Callable[..., nn.Module],
        shape: tuple[int, int, int],
        classes: int = 1,
        prediction: PredictionType = "v",
        conditional: bool = True,
        label_dropout: float = 0.1,
        guidance: float = 0.0,
    ) -> None:
        super().__init__()
        if prediction not in ("eps", "v", "x0"):
            raise ValueError(f"denoiser.prediction is {prediction!r}; allowed: eps, v, x0")
        if not 0 <= label_dropout < 1:
            raise ValueError(f"denoiser.label_dropout is {label_dropout}; it must lie in [0, 1)")
        self.prediction = prediction
        self.groups = group_count(classes, conditional)
        self.label_dropout, self.guidance = label_dropout, guidance
        if guidance and (self.groups == 1 or label_dropout == 0):
            raise ValueError(
                f"denoiser.guidance is {guidance}, but guidance needs several categories in one run, "
                "conditional=true and denoiser.label_dropout above 0"
            )
        self.network = network(shape=shape, classes=self.groups + 1 if self.groups > 1 else 0)

    def forward(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        """x0_hat (B, C, h, w); label None means "no label"."""
        label = self._told(label, x_t)
        output = self.network(x_t, log_snr, label)
        if self.guidance:
            output = output + self.guidance * (output - self.network(x_t, log_snr, self._blank(x_t)))
        return output_to_x0(output, x_t, log_snr, self.prediction)

    def loss(self, x0: Tensor, label: Tensor | None, noise: TrainingNoise) -> Tensor:
        """weight * mean over (C, h, w) of the squared eps error, per sample: (B,).

        Computed in the network's own target and converted by the exact factor, so nothing is divided by a small sigma.
        """
        x_t = add_noise(x0, noise.eps, noise.log_snr)
        label = self._told(label, x0)
        if label is not None and self.training:
            label = torch.where(noise.coin < self.label_dropout, self._blank(x0), label)
        output = self.network(x_t, noise.log_snr, label)
        error = (output - training_target(x0, noise.eps, noise.log_snr, self.prediction)).float().square()
        return noise.weight * eps_error_factor(noise.log_snr, self.prediction) * error.flatten(1).mean(1)

    def _told(self, label: Tensor | None, x: Tensor) -> Tensor | None:
        """What the network is told of the categories (B,) of x (B, C, h, w); None where it is told nothing."""
        if self.groups == 1:
            return None
        if label is None and self.label_dropout:
            return self._blank(x)
        return known(label, self.groups)

    def _blank(self, x: Tensor) -> Tensor:
        """The label (B,) that stands for none."""
        return torch.full((len(x),), self.groups, device=x.device)


class NoDenoiser(nn.Module):
    """Stands where a denoiser would; to call it is an error of the config."""

    def __init__(self, shape: tuple[int, int, int], classes: int = 1) -> None:
        super().__init__()

    def forward(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        raise ValueError("denoiser=none denoises nothing, but the scorer asked for it; choose another denoiser")
