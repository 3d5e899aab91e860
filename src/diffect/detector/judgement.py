"""What a detector says about images, and how it decides between the categories that they may be of."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Judgement:
    """What is said about a batch, and as which categories (B,) its images were judged.

    `label` is None where none was told and categories are not told apart.
    """

    components: Tensor  # (B, K, h, w)
    maps: Tensor  # (B, S, S)
    scores: Tensor  # (B,)
    label: Tensor | None

    def or_lower(self, other: Judgement) -> Judgement:
        """Image by image the one of the lower score, this one where they are equal."""
        assert self.label is not None and other.label is not None
        less = other.scores < self.scores
        wide = less[:, None, None]
        return Judgement(
            torch.where(wide[..., None], other.components, self.components),
            torch.where(wide, other.maps, self.maps),
            torch.where(less, other.scores, self.scores),
            torch.where(less, other.label, self.label),
        )
