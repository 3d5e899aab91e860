"""Runs of several categories: which parts exist once for each category, and which rows of a batch are of which."""

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor


def group_count(classes: int, conditional: bool) -> int:
    """How many groups of images have separate statistics: one for each category, or one of all."""
    return classes if conditional else 1


def by_group(label: Tensor | None, groups: int, batch: int) -> Iterator[tuple[int, Tensor]]:
    """(group, its rows of the batch); a single group has them all, whatever their label.

    ValueError if there are several groups and no labels.
    """
    if groups == 1:
        yield 0, torch.arange(batch)
        return
    label = required_labels(label, groups)
    for group in label.unique().tolist():
        yield group, (label == group).nonzero()[:, 0]


def apply_by_group(function: Callable[..., Tensor], label: Tensor | None, groups: int, *images: Tensor) -> Tensor:
    """function(group, its rows of each of the tensors (B, ...)) of every group, put together in the batch's order."""
    rows, parts = [], []
    for group, some in by_group(label, groups, len(images[0])):
        rows.append(some)
        parts.append(function(group, *(one[some] for one in images)))
    return torch.cat(parts)[torch.cat(rows).argsort()]


def of_each_image(values: Tensor, label: Tensor | None) -> Tensor:
    """The values (B, ...) of each image from values (G, ...) of each group; (1, ...) if there is a single group."""
    return values if len(values) == 1 else values[required_labels(label, len(values))]


def required_labels(label: Tensor | None, groups: int) -> Tensor:
    """The labels (B,); ValueError without them, since several groups need labels."""
    if label is None:
        raise ValueError(
            f"{groups} categories have separate statistics here, so each image needs a label (a conditional "
            "representation recognises the category of images without labels)"
        )
    return label


def no_images(part: str, counts: Sequence[int]) -> str:
    """The error sentence for a part that is fitted on `counts` (G,) images of each label, some of them zero."""
    which = f" with label {list(counts).index(0)}" if any(counts) else ""
    return f"{part} has no images{which} to fit on"
