"""Normal images that are added to those of the source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from diffect.data import decode
from diffect.data.decode import Depth
from diffect.data.sample import GOOD, Sample, Samples
from diffect.data.sources import folders
from diffect.data.sources.files import ImageFiles

if TYPE_CHECKING:
    from diffect.data.batches import Part, Row
    from diffect.data.splits import Cut


@dataclass(frozen=True)
class AddedFolder(Samples):
    """Normal images in FOLDER/<category> for each category; for a single category also in FOLDER itself."""

    root: Path

    @classmethod
    def of(cls, folder: str | None) -> AddedFolder | None:
        """The folder that `data.added` names; None where it names none."""
        return None if folder is None else cls(Path(folder).expanduser())

    def samples(self, category: str, depth: Depth | None = None) -> list[Sample]:
        """The images of a category; those that lie in no subfolder belong to each."""
        files = ImageFiles(category, lambda: depth or Depth(), str(depth))
        return [
            files.sample("train", f"added/{path.relative_to(self.root).as_posix()}", GOOD, path)
            for path in folders.scan(self.root).images
            if self._subfolder(path) in (None, category)
        ]

    def join(
        self,
        parts: Sequence[Part],
        rows: Mapping[str, list[Row]],
        depth: Callable[[str], Depth],
        make: Callable[[int, Sequence[Sample]], Part],
        cut: Cut,
    ) -> tuple[list[Part], dict[str, list[Row]]]:
        """The parts, with those of the added images after them, and the splits over both.

        Args:
            parts: that of each category's own samples, then others.
            rows: of each split.
            depth: says of a category how its images of more than 8 bits are read.
            make: gives the part of (label, samples).
            cut: the rule of the splits.

        Raises:
            ValueError: there are no images; one lies in no category's folder, is unlike the others of its category, or
                is among them already.
        """
        own = {part.label: part for part in reversed(parts)}  # the first part of each category
        self._check_folders([own[label].samples[0].category for label in sorted(own)])
        joined, splits = list(parts), {split: list(chosen) for split, chosen in rows.items()}
        for label, part in sorted(own.items()):
            category = part.samples[0].category
            samples = self.samples(category, depth(category))
            _check_alike([one for one in part.samples if one.split == "train"], samples)
            if samples:
                made = replace(make(label, samples), added=True)
                _check_new(part, made)
                for split, positions in cut.added(made.samples).items():
                    splits[split] += [(len(joined), position) for position in positions]
                joined.append(made)
        return joined, splits

    def _check_folders(self, categories: Sequence[str]) -> None:
        images = folders.scan(self.root).images if self.root.is_dir() else []
        if not images:
            raise ValueError(f"data.added is {self.root}; it must be a folder that holds images")
        names = {self._subfolder(path) for path in images}
        if strange := sorted(name for name in names if name is not None and name not in categories):
            raise ValueError(
                f"data.added is {self.root}, which holds a folder {strange[0]}; the categories of this run are "
                f"{', '.join(categories)}"
            )
        if None in names and len(categories) > 1:
            raise ValueError(
                f"data.added is {self.root}, which holds images in no folder; this run has several categories, and "
                f"each needs a folder: {', '.join(categories)}"
            )

    def _subfolder(self, path: Path) -> str | None:
        parts = path.relative_to(self.root).parts
        return parts[0] if len(parts) > 1 else None


def _check_alike(known: Sequence[Sample], added: Sequence[Sample]) -> None:
    """Added images have the size of the known ones, if these have one size, and are grey or in colour as they are."""
    (height, width), *others = {sample.size() for sample in known}
    for sample in added:
        if not others and sample.size() != (height, width):
            given = "{1} x {0}".format(*sample.size())
            raise ValueError(
                f"the added image {sample.path} is {given} pixels, and those of {sample.category} are {width} x "
                f"{height}: crop or scale it to that size"
            )
        grey, theirs = ("grey" if _is_grey(one) else "in colour" for one in (sample, known[0]))
        if grey != theirs:
            raise ValueError(
                f"the added image {sample.path} is {grey}, and those of {sample.category} are {theirs}: convert it"
            )


def _check_new(known: Part, added: Part) -> None:
    """No added image is among the known ones."""
    for sample, key in zip(added.samples, added.store.keys, strict=True):
        if key in known.store.keys:
            raise ValueError(f"the added image {sample.path} is among the images of {sample.category} already")


def _is_grey(sample: Sample) -> bool:
    return sample.path is not None and decode.is_grey(sample.path)
