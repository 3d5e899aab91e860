"""A sample: one image with its label and, where there is one, its mask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

GOOD = "good"  # the name of the folder of normal images


@dataclass(frozen=True)
class Sample:
    """One image file with its label and, where there is one, its mask.

    `name` is the image's posix path relative to the category's folder, such as "test/scratch/003.png".
    """

    category: str
    split: str
    defect: str
    name: str
    path: Path
    mask: Path | None

    @property
    def anomalous(self) -> bool:
        """True for a defective image."""
        return self.defect != GOOD


class Source(Protocol):
    """Where samples come from; see `mvtec.Folder`, `textures.Textures` and `joined.Joined`."""

    def categories(self) -> list[str]:
        """All categories, sorted."""

    def samples(self, category: str) -> list[Sample]:
        """All samples of one category: train, then test."""

    def fingerprint(self, category: str) -> str:
        """A hash of what the category holds, found without decoding."""
