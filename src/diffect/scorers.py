"""Scorers: how a trained denoiser judges an image. A pure function of (denoiser, x0, label, noise).

A scorer yields components (B, K, h, w), one for each level or distance that it uses. `AnomalyMap` turns them into a
map at image resolution and the map into a score; it holds all that is calibrated on normal images.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffect.denoising import Denoiser, ImageNoise, add_noise, ddim

Distance = Literal["l1", "l2", "cosine", "ssim"]


class Scorer(Protocol):
    """Components (B, K, h, w) of the anomaly of x0 (B, C, h, w), larger meaning less normal."""

    components: int  # K

    def __call__(self, denoiser: Denoiser, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor: ...


class DenoisingError:
    """E ||x0 - x0_hat(x_t)||^2 / C over noise draws, one component for each log-SNR level.

    Args:
        levels: log-SNRs at which the image is noised, in nats; never step numbers.
        draws: noise draws at each level.
    """

    def __init__(self, levels: Sequence[float] = (-1.0, 1.0, 3.0), draws: int = 1) -> None:
        _check_levels("scorer.levels", levels)
        if draws < 1:
            raise ValueError(f"scorer.draws is {draws}; it must be 1 or more")
        self.levels, self.draws = [float(level) for level in levels], draws
        self.components = len(self.levels)

    def __call__(self, denoiser: Denoiser, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        components = []
        for level in self.levels:
            log_snr = torch.full((len(x0),), level, device=x0.device)
            error = torch.zeros_like(x0[:, 0])
            for draw in range(self.draws):
                x_t = add_noise(x0, noise(x0, level, draw), log_snr)
                error += (x0 - denoiser(x_t, log_snr, label)).square().mean(1)
            components.append(error / self.draws)
        return torch.stack(components, dim=1)


class Reconstruction:
    """Noise to a level, DDIM back in k steps, compare with the original: one component.

    Args:
        start: log-SNR of the noised image.
        stop: the last log-SNR before x0; steps lie uniformly in log-SNR between the two.
        steps: denoiser calls.
        distance: l1, l2 or cosine over channels, or ssim (1 - structural similarity, over an 11-cell window).
        guidance: how strongly each step leans towards the test image (Mousakhan et al. 2023, DDAD); 0 for none.
        draws: noise draws, their distances averaged.
    """

    components = 1

    def __init__(
        self,
        start: float = -1.0,
        stop: float = 5.0,
        steps: int = 8,
        distance: Distance = "l2",
        guidance: float = 0.0,
        draws: int = 1,
    ) -> None:
        _check_levels("scorer.start and scorer.stop", [start, stop])
        if steps < 1 or draws < 1:
            raise ValueError(f"scorer.steps and scorer.draws must be 1 or more, found {steps} and {draws}")
        if start >= stop:
            raise ValueError(f"scorer.start is {start:g}: it must lie below scorer.stop, {stop:g}")
        if distance not in ("l1", "l2", "cosine", "ssim"):
            raise ValueError(f"scorer.distance is {distance!r}; allowed: l1, l2, cosine, ssim")
        if guidance < 0:
            raise ValueError(f"scorer.guidance is {guidance}; it must be 0 or more")
        # Uniform in log-SNR: k levels from start towards stop, the last step going on to x0.
        self.levels = [start + (stop - start) * step / max(steps - 1, 1) for step in range(steps)]
        self.distance, self.guidance, self.draws = distance, guidance, draws

    def __call__(self, denoiser: Denoiser, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
        maps = [self._compare(x0, self.reconstruct(denoiser, x0, label, noise, draw)) for draw in range(self.draws)]
        return torch.stack(maps).mean(0)[:, None]

    def reconstruct(
        self, denoiser: Denoiser, x0: Tensor, label: Tensor | None, noise: ImageNoise, draw: int = 0
    ) -> Tensor:
        """What the model makes of x0 (B, C, h, w) after noising it to the start level."""
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


class AnomalyMap(nn.Module):
    """Components to a map (B, S, S) and a score (B,).

    map = blur(upsample(mean_k component_k / scale_k)); scale_k, the mean of component k on held-out normal images,
    makes levels of different difficulty comparable. The score is the map's maximum, or the mean of its top share,
    over the true image, padding excluded.

    Args:
        components: K, the number of components of the scorer.
        size: side S of the map in pixels.
        blur: standard deviation of the Gaussian blur as a share of the map's side, the same look at any size; 0 for
            none. 1/64 is 4 pixels at 256.
        pool: `max`, or `top_mean`, the mean over the top `share` of pixels.
    """

    scale: Tensor

    def __init__(
        self,
        components: int,
        size: int,
        blur: float = 0.015625,
        pool: Literal["max", "top_mean"] = "top_mean",
        share: float = 0.01,
    ) -> None:
        super().__init__()
        if pool not in ("max", "top_mean"):
            raise ValueError(f"pooling.pool is {pool!r}; allowed: max, top_mean")
        if not 0 < share <= 1:
            raise ValueError(f"pooling.share is {share}; it must lie in (0, 1]")
        if blur < 0:
            raise ValueError(f"pooling.blur is {blur}; it must be 0 or more")
        self.size, self.blur, self.pool, self.share = size, blur, pool, share
        self.register_buffer("scale", torch.ones(components))

    def calibrate(self, batches: Iterable[Tensor]) -> None:
        """Fix the scale of each component from batches of components (B, K, h, w) of normal images."""
        means = torch.cat([components.double().mean((2, 3)) for components in batches])
        self.scale.copy_(means.mean(0).clamp(min=1e-12))

    def map(self, components: Tensor) -> Tensor:
        """(B, S, S) from components (B, K, h, w)."""
        combined = (components / self.scale.view(1, -1, 1, 1)).mean(1, keepdim=True)
        wide = F.interpolate(combined, size=(self.size, self.size), mode="bilinear", align_corners=False)
        return _gaussian_blur(wide, self.blur * self.size)[:, 0]

    def score(self, maps: Tensor, valid: Tensor) -> Tensor:
        """(B,) from maps (B, S, S) and valid (B, S, S), true where the image is and false on padding."""
        scores = []
        for values, inside in zip(maps, valid, strict=True):
            kept = values[inside]
            # The slack absorbs the rounding of decimal shares: 0.07 of 100 pixels are 7, not 8.
            count = 1 if self.pool == "max" else max(1, math.ceil(self.share * kept.numel() - 1e-6))
            scores.append(kept.topk(count).values.mean())
        return torch.stack(scores)


def _check_levels(key: str, levels: Sequence[float]) -> None:
    if not isinstance(levels, Sequence) or not levels or any(not -20 <= level <= 20 for level in levels):
        raise ValueError(f"{key} is {levels}; it must be a list of log-SNRs between -20 and 20")


def _gaussian_blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, 1, S, S), separable, cut at 4 sigma, edges mirrored."""
    if sigma == 0:
        return maps
    radius = min(math.ceil(4 * sigma), maps.shape[-1] - 1)
    x = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
    kernel = torch.exp(-0.5 * (x / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = F.pad(maps, (radius, radius, radius, radius), mode="reflect")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))


def _ssim(a: Tensor, b: Tensor, window: int = 11) -> Tensor:
    """Structural similarity per channel and position (Wang et al. 2004, eq. 13), same shape as a (B, C, h, w).

    The stabilisers take the dynamic range of unit-variance data as 6 standard deviations.
    """
    window = min(window, a.shape[-1] - 1 + a.shape[-1] % 2)
    c1, c2 = (0.01 * 6) ** 2, (0.03 * 6) ** 2

    def mean(x: Tensor) -> Tensor:
        return F.avg_pool2d(x, window, stride=1, padding=window // 2, count_include_pad=False)

    mu_a, mu_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mu_a**2, mean(b * b) - mu_b**2
    cov = mean(a * b) - mu_a * mu_b
    return ((2 * mu_a * mu_b + c1) * (2 * cov + c2)) / ((mu_a**2 + mu_b**2 + c1) * (var_a + var_b + c2))
