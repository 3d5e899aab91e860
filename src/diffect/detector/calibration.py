"""Normal images judged by what was fitted without them, where none can be held out for good."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from diffect.data.batches import Batch, Passes
from diffect.data.datamodule import DataModule
from diffect.data.splits import Split
from diffect.detector import Detector

FOLDS = 8  # at most: more fits, each nearer to that of all images
FEW = 8  # normal images of a category to calibrate on; fewer get copies
KINDS, COPIES = ("shift", "zoom"), 8  # of each


@dataclass(frozen=True)
class Together:
    """Several loaders as one, as often as it is gone through."""

    loaders: Sequence[Iterable[Batch]]

    def __iter__(self) -> Iterator[Batch]:
        return chain.from_iterable(self.loaders)


@dataclass(frozen=True)
class Fold:
    """Images to judge, `left`, and those to fit to, `rest`; `places` are (split, position) of `left`, in order."""

    rest: Together
    left: Together
    places: list[tuple[Split, int]]


def folds(data: DataModule, splits: Sequence[Split], most: int = FOLDS) -> list[Fold]:
    """Every image of these splits is left out once, with all its copies, `most` folds or fewer.

    Each fold holds images of every category, so there are no more folds than a category has images; ValueError where
    one has a single image only.
    """
    origins = {split: data.origins(split) for split in splits}
    turns: dict[tuple[Split, int], int] = {}
    counts = [0] * len(data.categories)
    for split in splits:
        for position in real(data, split):
            label = _label(data, split, position)
            turns[split, position] = counts[label]
            counts[label] += 1
    number = min(most, *counts)
    if number < 2:
        lonely = data.categories[counts.index(min(counts))]
        raise ValueError(f"category {lonely} has one normal image, which cannot be judged by the others")
    found = []
    for turn in range(number):
        left: dict[Split, list[int]] = {split: [] for split in splits}
        rest: dict[Split, list[int]] = {split: [] for split in splits}
        for split in splits:
            for position, origin in enumerate(origins[split]):
                mine = turns[split, origin] % number == turn
                (left if mine else rest)[split].append(position)
        places = [(split, position) for split in splits for position in left[split]]
        found.append(Fold(_loaders(data, rest), _loaders(data, left), places))
    return found


def calibrate(detector: Detector, data: DataModule) -> str:
    """Fix the components' scale on normal images that the denoiser was not fitted to; says on which.

    Where none were held out, or none of a category whose scale is its own, an image that a closed form has seen would
    be no measure: it finds its own patches again. It is then judged by what was fitted to the other fit images. Fewer
    than `FEW` images are joined by copies, a little shifted and rescaled, without which rows and columns of the frame
    would be those of the few. Of a single image only the copies judge, by what was fitted to it. What has learned by
    steps has seen the fit images under noise, and is calibrated on them.
    """
    groups = detector.anomaly_map.groups
    split: Split = "selection" if _fewest(data, "selection", groups) else "fit"
    given, few = real(data, split), data.kind.drawable and _fewest(data, split, groups) < FEW
    joined = f" and {COPIES} copies of each ({', '.join(KINDS)})" if few else ""
    if split == "selection" or not detector.solves:
        detector.calibrate(_joined(data, split, given, few))
        return f"the {split} normals{joined}"
    if _fewest(data, split, len(data.categories)) > 1:
        pairs: list[tuple[Iterable[Batch], Iterable[Batch]]] = [
            (fold.rest, _joined(data, split, [place for _, place in fold.places if place in given], few))
            for fold in folds(data, [split])
        ]
        said = f"the fit normals{joined}, each judged by what was fitted without it"
    else:
        pairs = [(data.normal_dataloader(split, given), data.augmented(split, KINDS, COPIES, data.seed))]
        said = f"copies of the fit normals ({', '.join(KINDS)}), judged by what was fitted to the images themselves"
    detector.anomaly_map.calibrate(part for pair in pairs for part in components_without(detector, *pair))
    return said


@torch.no_grad()
def components_without(detector: Detector, rest: Iterable[Batch], left: Iterable[Batch]) -> list[tuple[Tensor, Tensor]]:
    """Components and labels of the batches of `left`, by a closed form that is fitted to those of `rest` alone."""
    detector.eval()
    seen, own = detector.denoiser, copy.deepcopy(detector.denoiser)
    closed: Any = own
    detector.denoiser = own
    try:
        closed.fit(Passes(rest, lambda batch: detector.encoded(batch)[:2]))
        return [(detector.components(batch), batch["label"]) for batch in left]
    finally:
        detector.denoiser = seen


def _fewest(data: DataModule, split: Split, groups: int) -> int:
    """How many images, not counting copies, a split holds of the category that has the fewest, or of all as one."""
    labels = [_label(data, split, position) for position in real(data, split)]
    return len(labels) if groups == 1 else min(map(labels.count, range(groups)))


def _joined(data: DataModule, split: Split, positions: Sequence[int], few: bool) -> Together:
    """The images at these positions, and where they are few fresh copies of them."""
    loaders = [data.normal_dataloader(split, positions)]
    if few:
        loaders.append(data.augmented(split, KINDS, COPIES, data.seed, positions))
    return Together(loaders)


def real(data: DataModule, split: Split) -> list[int]:
    """The positions of the images that were given, not of copies made for training, which go where their image goes."""
    return [position for position, origin in enumerate(data.origins(split)) if position == origin]


def _label(data: DataModule, split: Split, position: int) -> int:
    part, _ = data.splits[split][position]
    return data.parts[part].label


def _loaders(data: DataModule, positions: dict[Split, list[int]]) -> Together:
    return Together([data.normal_dataloader(split, held) for split, held in positions.items() if held])
