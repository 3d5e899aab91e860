"""Closed forms of several categories: one model for each and one for all, or one for all only."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def model_count(classes: int, conditional: bool) -> int:
    """One model for each of several categories plus, last, one for images of no label; else a single one."""
    return classes + 1 if conditional and classes > 1 else 1


def by_model(label: Tensor | None, models: int, batch: int) -> Iterator[tuple[int, Tensor]]:
    """(model, the rows of the batch that it answers for); all rows go to the last model without label or choice."""
    if label is None or models == 1:
        yield models - 1, torch.arange(batch)
        return
    for model in label.unique().tolist():
        yield model, (label == model).nonzero()[:, 0]
