"""No denoiser, for scorers that learn by themselves."""

from __future__ import annotations

from torch import Tensor, nn


class NoDenoiser(nn.Module):
    """Stands where a denoiser would; to call it is an error of the config."""

    def __init__(self, shape: tuple[int, int, int], classes: int = 1) -> None:
        super().__init__()

    def forward(self, x_t: Tensor, log_snr: Tensor, label: Tensor | None = None) -> Tensor:
        raise ValueError("denoiser=none denoises nothing, but the scorer asked for it; choose another denoiser")
