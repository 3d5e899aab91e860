"""Seeded noise: a function of the seed, the image and the draw, independent of the batch."""

import hashlib
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class ImageNoise:
    """Noise of images that depends on the seed and on the content of each image, not on the rest of the batch."""

    seed: int
    keys: Tensor  # (B,) int64, a hash of each image's pixels

    def __call__(self, x0: Tensor, level: float | str, draw: int) -> Tensor:
        """eps with the shape, dtype and device of x0 (B, C, *grid), drawn on the CPU: the same on every device.

        Args:
            x0: of the images of `keys`.
            level: log-SNR, or a name for noise that belongs to no level.
            draw: number of the draw.
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
