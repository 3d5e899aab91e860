"""How much further from a model lie normal images that it has not seen, and how to set back those that it has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK = 16  # images whose x0 are held at once


@dataclass(frozen=True)
class Examples:
    """N images to learn from: the scorer's components (N, K, h, w), the share of each cell that is defective
    (N, 1, h, w), and x0 (B, C, h, w) of the images at given places, which are read when they are asked for.
    """

    components: Tensor
    share: Tensor
    x0: Callable[[list[int]], Tensor]

    def __len__(self) -> int:
        return len(self.components)


@dataclass(frozen=True)
class Gap:
    """How much further from the model images lie that it has not seen: what an image that it was fitted on lacks.

    A component is a squared error, and errors that have nothing to do with each other add up in squares: an unseen
    image's is the fitted one's plus a gap. Of the gap are known its mean (K,) and its spread between images and between
    the cells of one (K,), and of x0 the standard deviation (C,) that is missing, from the moments of held-out images.
    """

    mean: Tensor
    between: Tensor
    within: Tensor
    x0: Tensor

    @classmethod
    def of(cls, fitted: Examples, held: Examples, features: bool) -> Gap:
        """From normal images that the model was fitted on and others; x0 is read only where it is needed."""
        here, there = moments(fitted.components), moments(held.components)
        mean, between, within = ((b - a).clamp(min=0) for a, b in zip(here, there, strict=True))
        missing = (_variance(held) - _variance(fitted)).clamp(min=0) if features else torch.zeros(0)
        return cls(mean, between.sqrt(), within.sqrt(), missing.sqrt())

    def components(self, components: Tensor, generator: torch.Generator) -> Tensor:
        """Components (B, K, h, w) with a gap, whose spread is the same draw at every level."""
        batch, _, *grid = components.shape
        image, cell = (
            torch.randn(batch, 1, *size, generator=generator).to(components) for size in ((1, 1), tuple(grid))
        )
        mean, between, within = (
            value.to(components).view(1, -1, 1, 1) for value in (self.mean, self.between, self.within)
        )
        return components + (mean + between * image + within * cell).clamp(min=0)

    def features(self, x0: Tensor, generator: torch.Generator) -> Tensor:
        """x0 (B, C, h, w) with the missing variance added as noise."""
        return x0 + self.x0.to(x0).view(1, -1, 1, 1) * torch.randn(x0.shape, generator=generator).to(x0)


def moments(components: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean, variance between images and variance within them, each (K,), of components (N, K, h, w)."""
    exact = components.double()
    images = exact.mean((2, 3))
    within = (exact - images[:, :, None, None]).square().mean((0, 2, 3))
    return images.mean(0), images.var(0, correction=0), within


def _variance(examples: Examples) -> Tensor:
    """The variance of each channel of x0 (C,)."""
    count, first, second = 0, torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for x0 in _chunks(examples):
        exact = x0.double().cpu()
        count += exact[:, 0].numel()
        first = first + exact.sum((0, 2, 3))
        second = second + exact.square().sum((0, 2, 3))
    return second / count - (first / count).square()


def _chunks(examples: Examples) -> Iterator[Tensor]:
    for start in range(0, len(examples), _CHUNK):
        yield examples.x0(list(range(start, min(start + _CHUNK, len(examples)))))
