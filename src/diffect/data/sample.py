"""What the data are made of: samples that can be loaded, and sources that list them."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from diffect.config.description import Described
from diffect.data.decode import Depth

GOOD = "good"  # the defect of normal samples, and the name of their folder


@dataclass(frozen=True)
class Kind:
    """What all samples of a source have in common.

    Args:
        name: image, frame (of a video), series or volume.
        channels: C.
        rank: number of spatial axes, 1 for series, 2 for images, 3 for volumes.
        dtype: of the loaded arrays, in NumPy's name.
    """

    name: Literal["image", "frame", "series", "volume"]
    channels: int
    rank: int
    dtype: str

    @property
    def drawable(self) -> bool:
        """Whether a sample is a picture: it can be resized, augmented and shown."""
        return self.name in ("image", "frame")


IMAGE = Kind("image", 3, 2, "uint8")


@dataclass(frozen=True)
class Sample:
    """One sample with its label: how to load it, and what must not be separated from it.

    Args:
        category: the kind of part.
        split: train or test.
        name: unique in its category, such as "test/scratch/003.png".
        defect: the type of defect; "good" is normal.
        load: gives the array (*size, C).
        load_mask: gives the mask (*size), true on the defect; None where there is none.
        group: samples of one group must stay in one split; by default the sample is its only member.
        path: the file, where there is one.
        mask_paths: the files of the mask, where there are some.
        load_size: gives *size without decoding; by default the loaded array's.
        load_version: gives a text that changes with the content; by default a hash of the loaded arrays.
        load_region: gives where a picture is looked at (*size), None for everywhere; see `regions.Regions`.
    """

    category: str
    split: Literal["train", "test"]
    name: str
    defect: str
    load: Callable[[], NDArray[Any]] = field(compare=False)
    load_mask: Callable[[], NDArray[np.bool_]] | None = field(default=None, compare=False)
    group: str = ""
    path: Path | None = None
    mask_paths: tuple[Path, ...] = ()
    load_size: Callable[[], tuple[int, ...]] | None = field(default=None, compare=False)
    load_version: Callable[[], str] | None = field(default=None, compare=False)
    load_region: Callable[[], NDArray[np.bool_] | None] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "group", self.group or self.name)

    @property
    def anomalous(self) -> bool:
        """Whether the sample is defective."""
        return self.defect != GOOD

    def size(self) -> tuple[int, ...]:
        """The spatial size, without decoding where the source can say it."""
        return self.load().shape[:-1] if self.load_size is None else self.load_size()

    def version(self) -> str:
        """A text that changes with the content of the sample or of its mask."""
        if self.load_version is not None:
            return self.load_version()
        arrays = [self.load()] + ([] if self.load_mask is None else [self.load_mask()])
        return hashlib.sha256(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays)).hexdigest()


class Samples(ABC):
    """Samples by category, whose content has a fingerprint."""

    @abstractmethod
    def samples(self, category: str) -> list[Sample]:
        """All samples of one category: train, then test."""

    def ignored(self, category: str) -> dict[str, list[str]]:
        """The names of files of a category that are no part of its samples, by the reason; see `folders.scan`."""
        return {}

    def depth(self, category: str) -> Depth:
        """Which values are black and white in files of a category that have more than 8 bits."""
        return Depth()

    def fingerprint(self, category: str) -> str:
        """Hex SHA-256 over names, splits, defects, groups and contents of a category, the same wherever it lies."""
        entries = [[one.split, one.name, one.defect, one.group, one.version()] for one in self.samples(category)]
        return hashlib.sha256(json.dumps(entries).encode()).hexdigest()


class Source(Samples, Described):
    """Where the data of a run come from; see `mvtec.Folder`, `textures.Textures` and `joined.Joined`."""

    @property
    @abstractmethod
    def kind(self) -> Kind:
        """What all samples have in common."""

    @abstractmethod
    def categories(self) -> list[str]:
        """All categories, sorted."""


def data_fingerprint(source: Samples, categories: Iterable[str]) -> str:
    """Hex SHA-256 over the names and contents of these categories; decodes nothing."""
    named = [[category, source.fingerprint(category)] for category in categories]
    return hashlib.sha256(json.dumps(named).encode()).hexdigest()
