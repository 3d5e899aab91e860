"""The likelihood of the denoising error under the variance that the network has learned."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffect.config.check import checked
from diffect.config.description import enumerated
from diffect.config.types import Levels, NonNegativeInt, Supplied
from diffect.denoisers.base import Denoiser
from diffect.denoisers.learned import LearnedDenoiser, gaussian_error
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.process import Denoise
from diffect.scorers.base import Origin, Scorer, noised, noised_in_words


@checked
class ResidualLikelihood(Scorer):
    """Mean over channels of log v + (x0 - x0_hat(x_t))^2 / v, one component for each log-SNR level.

    v is the variance of x0 around x0_hat that the network has learned for each scale of the pyramid, so this is -2 / C
    times the log-likelihood of x0 under N(x0_hat, v), less a constant. Where normal images vary much, a large error
    counts less; where they hardly vary, a small one counts more. It is averaged over noise draws, and takes both signs.

    Args:
        channels: of each scale.
        levels: log-SNRs at which the image is noised, in nats; never step numbers.
        draws: noise draws at each level; 0 for the un-noised x_t = alpha x0.
    """

    def __init__(self, channels: Supplied[Sequence[int]], levels: Levels = (-1.0,), draws: NonNegativeInt = 0) -> None:
        super().__init__(channels, [Origin(float(level)) for level in levels], levels)
        self.draws = draws

    def describe(self) -> str:
        return (
            "the Gaussian negative log-likelihood of the denoising error under the learned variance "
            f"[@nix1994variance] at log-SNR {enumerated(self.levels)}, {noised_in_words(self.draws)}"
        )

    def check(self, denoiser: Denoiser, low: float, high: float) -> None:
        super().check(denoiser, low, high)
        _with_variance(denoiser)

    def forward(self, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        """Components (B, K, *grid), one for each level."""
        learned, components = _with_variance(denoiser), []
        for level in self.levels:
            draws = []
            for x_t, log_snr in noised(x0, level, self.draws, noise):
                x0_hat, log_variance = learned.posterior(x_t, log_snr, label)
                draws.append(gaussian_error((x0 - x0_hat).square(), log_variance, self.channels))
            components.append(torch.stack(draws).mean(0))
        return torch.stack(components, dim=1)


def _with_variance(denoiser: Denoise) -> LearnedDenoiser:
    if isinstance(denoiser, LearnedDenoiser) and denoiser.variance_weight:
        return denoiser
    raise ValueError(
        "scorer=residual_likelihood needs a network that learns the variance of its error: choose denoiser=mlp, conv, "
        "dit or unet with denoiser.variance_weight above 0, such as 0.1"
    )
