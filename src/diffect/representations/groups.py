"""Where a run holds several categories: what each has of its own, and which rows of a batch are whose."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def group_count(classes: int, conditional: bool) -> int:
    """How many groups of images are told apart: as many as there are categories, or one of all."""
    return classes if conditional else 1


def by_group(label: Tensor | None, groups: int, batch: int) -> Iterator[tuple[int, Tensor]]:
    """(group, its rows of the batch); a single group has them all, whatever their label.

    ValueError where there are several and no label says whose an image is.
    """
    if groups == 1:
        yield 0, torch.arange(batch)
        return
    label = known(label, groups)
    for group in label.unique().tolist():
        yield group, (label == group).nonzero()[:, 0]


def own(values: Tensor, label: Tensor | None) -> Tensor:
    """What belongs to each image (B, ...) of values (G, ...) by group; (1, ...) where there is a single one."""
    return values if len(values) == 1 else values[known(label, len(values))]


def known(label: Tensor | None, groups: int) -> Tensor:
    """The labels (B,), needed where there are several groups."""
    if label is None:
        raise ValueError(
            f"{groups} categories each have their own here, and no label says which an image is of (without labels "
            "they are told apart by the representation, where it is conditional)"
        )
    return label
