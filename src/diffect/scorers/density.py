"""The density of noised data in closed form, without its log-determinant."""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffect.config.check import checked
from diffect.config.description import enumerated
from diffect.config.types import Levels, Supplied
from diffect.denoisers.base import ClosedForm, Denoiser
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.process import Denoise, alpha_sigma
from diffect.scorers.base import Origin, Scorer

NEAREST = 10.0  # log-SNR from which the nearest stored patch has almost all of the weight


@checked
class Density(Scorer):
    """-2 (log p_t(alpha x0) - log normaliser) / C at each position, one component for each log-SNR level.

    The normaliser, which holds the log-determinant, differs by position and does not depend on the image. The rest is
    with denoiser=gaussian the squared Mahalanobis distance under Sigma + (sigma / alpha)^2 I, PaDiM's (Defard et
    al. 2020, eq. 2) with 0.01 at log-SNR 4.6; with denoiser=empirical a soft minimum over the stored patches of
    their squared distance in units of (sigma / alpha)^2, PatchCore's nearest neighbour (Roth et al. 2022, eq. 6) as
    sigma goes to 0.

    Args:
        channels: of each scale.
        levels: log-SNRs of the noise that blurs the density, in nats.
        root: whether to take the square root, which makes it a distance, as both papers have it.
    """

    def __init__(self, channels: Supplied[Sequence[int]], levels: Levels = (4.6,), root: bool = False) -> None:
        super().__init__(channels, [Origin(float(level)) for level in levels], levels)
        self.root = root

    def describe(self) -> str:
        root, squared = ("the root of ", "") if self.root else ("", "squared ")
        density = f"{root}the negative log-density at log-SNR {enumerated(self.levels)}, less its log-determinant"
        distance = f"of a Gaussian, the {squared}Mahalanobis distance [@defard2021padim]"
        if min(self.levels) >= NEAREST:
            distance = f"of stored patches, the {squared}distance to the nearest [@roth2022patchcore]"
        return f"{density} ({distance})"

    def check(self, denoiser: Denoiser, low: float, high: float) -> None:
        _density_of(denoiser)

    def forward(self, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        density, components = _density_of(denoiser), []
        for level in self.levels:
            log_snr = torch.full((len(x0),), level, device=x0.device)
            x_t = alpha_sigma(log_snr, x0)[0] * x0
            logs = density.log_density(x_t, log_snr, label) - density.log_normaliser(log_snr, label)
            squared = -2 * logs / x0.shape[1]
            components.append(squared.clamp(min=0).sqrt() if self.root else squared)
        return torch.stack(components, dim=1)


def _density_of(denoiser: Denoise) -> ClosedForm:
    if isinstance(denoiser, ClosedForm):
        return denoiser
    raise ValueError(
        f"scorer=density needs a denoiser whose density is known, not a {type(denoiser).__name__}; allowed: "
        "denoiser=gaussian, denoiser=empirical (for others there is scorer=likelihood)"
    )
