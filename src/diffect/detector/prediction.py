"""What a detector says about images."""

from __future__ import annotations

from dataclasses import dataclass

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
