"""Which samples must stay in one split: those of one clip or part, neighbours in a run of photographs, near-copies."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import cbrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffect.data.duplicates import alike, thumbnails, united
from diffect.data.sample import Kind, Sample
from diffect.data.store import Store

AUTO, NONE = "auto", "none"
FEWEST = 20  # images that are cut into blocks

Counter = tuple[int, ...]


@dataclass(frozen=True)
class Grouping:
    """The groups of the samples of a category.

    Args:
        rule: `auto` keeps the source's groups, cuts runs of consecutive file names into blocks of neighbours (see
            `neighbours`), and joins groups that hold copies or near-copies of each other. `none` makes each sample its
            own group. Else a regular expression that is searched for in file names: images whose first capture
            group is equal are of one group.
    """

    rule: str = AUTO

    def __post_init__(self) -> None:
        if self.rule in (AUTO, NONE):
            return
        allowed = (
            f"it must be {AUTO}, {NONE}, or a regular expression such as part(\\d+), whose first group is the group"
        )
        try:
            expression = re.compile(self.rule)
        except re.error as error:
            raise ValueError(f"data.groups={self.rule} is no regular expression ({error}); {allowed}") from error
        if not expression.groups:
            raise ValueError(f"data.groups={self.rule} has no capture group (...); {allowed}")

    def describe(self) -> str:
        """What a group is, in words."""
        if self.rule == NONE:
            return "each image is its own group"
        if self.rule == AUTO:
            return "a group holds images that are copies of each other or neighbours in a run of file names"
        return f"a group holds the images whose file names agree in {self.rule}"

    def apply(self, samples: Sequence[Sample], store: Store, kind: Kind, cache: Path) -> list[Sample]:
        """The samples of a category with their groups."""
        if self.rule == NONE:
            return [replace(sample, group=sample.name) for sample in samples]
        if self.rule == AUTO:
            return _automatic(samples, store, thumbnails(store, kind, samples[0].category, cache))
        return self._by_name(samples)

    def _by_name(self, samples: Sequence[Sample]) -> list[Sample]:
        """Test samples whose name does not match are groups of their own; ValueError for training samples."""
        matches = [re.search(self.rule, _file_name(sample)) for sample in samples]
        parts = [match.group(1) if match else None for match in matches]
        unmatched = [
            _file_name(sample)
            for sample, part in zip(samples, parts, strict=True)
            if part is None and sample.split == "train"
        ]
        if unmatched:
            count = sum(sample.split == "train" for sample in samples)
            raise ValueError(
                f"data.groups={self.rule} gives no group to {len(unmatched)} of the {count} training images of "
                f"{samples[0].category}, first {unmatched[0]}: it must match every file name"
            )
        return [
            replace(sample, group=sample.name if part is None else part)
            for sample, part in zip(samples, parts, strict=True)
        ]


def _automatic(samples: Sequence[Sample], store: Store, small: NDArray[np.float64] | None) -> list[Sample]:
    """Groups are sought within train and within test; each takes the group of its first sample."""
    grouped = list(samples)
    for split in ("train", "test"):
        rows = [row for row, sample in enumerate(samples) if sample.split == split]
        if not rows:
            continue
        chosen = [samples[row] for row in rows]
        copies = alike(store.keys[rows], None if small is None else small[rows])
        labels = united(np.array([sample.group for sample in chosen]), _by_neighbours(chosen), copies)
        names: dict[int, str] = {}
        for row, label in zip(rows, labels.tolist(), strict=True):
            grouped[row] = replace(samples[row], group=names.setdefault(label, samples[row].group))
    return grouped


def _by_neighbours(samples: Sequence[Sample]) -> NDArray[np.int64]:
    """(N,): equal for files of one block; each defect has blocks of its own, and so has each sample with a group."""
    labels = np.arange(len(samples))
    files: dict[str, list[int]] = {}
    for position, sample in enumerate(samples):
        if sample.path is not None and sample.group == sample.name:  # the source knows no group
            files.setdefault(sample.defect, []).append(position)
    for positions in files.values():
        for block in neighbours([samples[position].name for position in positions]):
            labels[[positions[place] for place in block]] = positions[block[0]]
    return labels


def neighbours(names: Sequence[str]) -> list[list[int]]:
    """Positions of file names, cut into blocks of about n^(1/3) consecutive ones.

    Photographs that were taken one after the other resemble each other. Long blocks separate the splits well but leave
    few groups to draw from; at lengths of the order of n^(1/3) the block bootstrap balances the two (Hall, Horowitz and
    Jing 1995). 20 images give 10 groups, 209 give 42, 762 give about 85. In a set of fewer each image is alone, since
    fit, selection and calibration would have hardly a group each.

    Names that differ in numbers only are a run. It is ordered by the last number in the name that no two names share,
    or else by all numbers. A block ends where the gap in this order is widest, at half its length more or less, so that
    the exposures of one part stay together. Names without a number are alone.
    """
    length = int(cbrt(len(names))) if len(names) >= FEWEST else 1
    runs: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        runs.setdefault(re.sub(r"\d+", "#", _stem(name)), []).append(position)
    blocks = []
    for positions in runs.values():
        order = _order([_counters(names[position]) for position in positions])
        ranked = sorted(zip(order, positions, strict=True))
        gaps = [tuple(np.subtract(after, before)) for (before, _), (after, _) in pairwise(ranked)]
        start = 0
        for end in _ends(gaps, length):
            blocks.append([position for _, position in ranked[start:end]])
            start = end
    return blocks


def _ends(gaps: Sequence[tuple[Any, ...]], length: int) -> Iterable[int]:
    """Where the blocks of a run end, whose neighbours are so far apart; the last one ends with the run."""
    start, count = 0, len(gaps) + 1
    while count - start > 3 * length // 2:
        window = range(start + (length + 1) // 2, start + 3 * length // 2 + 1)
        middle = start + length
        start = max(window, key=lambda end: (gaps[end - 1], -abs(end - middle)))
        yield start
    yield count


def _order(counters: Sequence[list[Counter]]) -> list[Counter]:
    """What a run is ordered by."""
    for same in reversed(list(zip(*counters, strict=True))):
        if len(set(same)) == len(same):
            return list(same)
    return [sum(one, ()) for one in counters]


def _counters(name: str) -> list[Counter]:
    """The numbers in a name; those with only punctuation between them, such as a date and a time, are one counter."""
    return [tuple(map(int, re.findall(r"\d+", part))) for part in re.findall(r"\d+(?:[\W_]+\d+)*", _stem(name))]


def _stem(name: str) -> str:
    """A sample's name without the suffix of its file."""
    return name.removesuffix(Path(name).suffix)


def _file_name(sample: Sample) -> str:
    """What a regular expression is searched in: 003.png of train/good/003.png, monday/003.png in a subfolder of it."""
    return sample.name.split("/", 2)[-1]
