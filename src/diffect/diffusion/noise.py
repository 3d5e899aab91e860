"""Seeded noise: a function of the seed, the image and the draw, independent of the batch."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageNoise:
    """Noise of an image that depends on the seed and the content of the image alone, not on the rest of the batch."""

    seed: int
    keys: Tensor  # (B,) int64, a hash of each image's pixels

    def __call__(self, x0: Tensor, level: float | str, draw: int) -> Tensor:
        """eps for draw number `draw` at noise level `level`, the shape, dtype and device of x0 (B, C, *grid).

        Drawn on the CPU, so that an image gets the same noise on any device.
        """
        generator = torch.Generator()
        rows = []
        for key in self.keys.tolist():
            generator.manual_seed(seed_of(self.seed, key, level, draw))
            rows.append(torch.randn(x0.shape[1:], generator=generator))
        return torch.stack(rows).to(x0)


def seed_of(*parts: object) -> int:
    """A generator seed, 63 bits, that is a function of `parts` (numbers and strings) alone."""
    text = ":".join(repr(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def unit(*parts: object) -> float:
    """A number in [0, 1) that is a function of `parts`."""
    return seed_of(*parts) / 2**63
