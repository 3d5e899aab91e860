"""Reconstruction: an image is noised and denoised, and the result compared with it."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from diffect.config.check import checked
from diffect.config.description import counted
from diffect.config.types import LogSNR, NonNegativeFloat, PositiveInt, Supplied
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.process import Denoise, add_noise
from diffect.diffusion.samplers import ddim
from diffect.representations.base import local_mean
from diffect.scorers.base import Scorer

Distance = Literal["l1", "l2", "cosine", "ssim"]


@checked
class Reconstruction(Scorer):
    """Noise to a level, DDIM back in k steps, compare with the original: one component.

    Args:
        channels: of each scale.
        start: log-SNR of the noised image.
        stop: the last log-SNR before x0; steps lie uniformly in log-SNR between the two.
        steps: denoiser calls.
        distance: l1, l2 or cosine over channels, or ssim (1 - structural similarity, over an 11-cell window).
        guidance: how strongly each step is pulled towards the test image (Mousakhan et al. 2023, DDAD); 0 for none.
        draws: noise draws, their distances averaged.
    """

    def __init__(
        self,
        channels: Supplied[Sequence[int]],
        start: LogSNR = -1.0,
        stop: LogSNR = 5.0,
        steps: PositiveInt = 8,
        distance: Distance = "l2",
        guidance: NonNegativeFloat = 0.0,
        draws: PositiveInt = 1,
    ) -> None:
        # Uniform in log-SNR: k levels from start towards stop; the last step goes to x0.
        levels = [start + (stop - start) * step / max(steps - 1, 1) for step in range(steps)]
        super().__init__(channels, levels=levels, keys="scorer.start and scorer.stop")
        if start >= stop:
            raise ValueError(f"scorer.start is {start:g}: it must lie below scorer.stop, {stop:g}")
        self.distance, self.guidance, self.draws = distance, guidance, draws

    def describe(self) -> str:
        steps = f"noised to log-SNR {self.levels[0]:g} and denoised in {counted(len(self.levels), 'DDIM step')}"
        names = {"l1": "L1", "l2": "L2", "cosine": "cosine distance", "ssim": "SSIM [@wang2004ssim]"}
        guided = ", guided by the image" if self.guidance else ""
        return f"its reconstruction, {steps} [@song2021ddim]{guided}, compared by {names[self.distance]}"

    def forward(self, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        maps = [self._compare(x0, self.reconstruct(denoiser, x0, label, noise, draw)) for draw in range(self.draws)]
        return torch.stack(maps).mean(0)[:, None]

    def reconstruct(
        self, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise, draw: int = 0
    ) -> Tensor:
        """x0_hat (B, C, *grid) by DDIM from x0 (B, C, *grid) noised to the start level."""
        log_snr = torch.full((len(x0),), self.levels[0], device=x0.device)
        x_t = add_noise(x0, noise(x0, self.levels[0], draw), log_snr)
        return ddim(denoiser, x_t, label, self.levels, target=x0, guidance=self.guidance)

    def _compare(self, x0: Tensor, other: Tensor) -> Tensor:
        if self.distance == "l1":
            return (x0 - other).abs().mean(1)
        if self.distance == "l2":
            return (x0 - other).square().mean(1)
        if self.distance == "cosine":
            return 1 - F.cosine_similarity(x0, other, dim=1)
        return (1 - _ssim(x0, other)).mean(1)


def _ssim(a: Tensor, b: Tensor, window: int = 11) -> Tensor:
    """Structural similarity per channel and position (Wang et al. 2004, eq. 13), same shape as a (B, C, *grid).

    The stabilisers take the dynamic range of unit-variance data as 6 standard deviations.
    """
    short = min(a.shape[2:])
    window = min(window, short - 1 + short % 2)
    c1, c2 = (0.01 * 6) ** 2, (0.03 * 6) ** 2
    mu_a, mu_b = local_mean(a, window), local_mean(b, window)
    var_a, var_b = local_mean(a * a, window) - mu_a**2, local_mean(b * b, window) - mu_b**2
    cov = local_mean(a * b, window) - mu_a * mu_b
    return ((2 * mu_a * mu_b + c1) * (2 * cov + c2)) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
