"""A folder of defective images that contaminate the training set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diffect.data.decode import Depth
from diffect.data.sample import Sample, Samples
from diffect.data.sources import folders
from diffect.data.sources.files import ImageFiles
from diffect.data.sources.layout import Layout

TEST = "test"  # in place of a folder: the category's own test defects


@dataclass(frozen=True)
class DefectFolder(Samples):
    """Defective images for each category: those in FOLDER/<category>, or in FOLDER where there is none."""

    root: Path

    @classmethod
    def of(cls, share: float, folder: str | None) -> DefectFolder | None:
        """The folder that `data.contamination` and `data.contamination_from` name; None where they name none."""
        return cls(Path(str(folder)).expanduser()) if share and folder not in (None, TEST) else None

    def samples(self, category: str, depth: Depth | None = None) -> list[Sample]:
        """The images of a category: in the folder itself and in its subfolders, one for each defect, but not `good`."""
        folder = self.root / category if (self.root / category).is_dir() else self.root
        layout = Layout()
        if layout.is_category(folder):
            folder = folder / layout.test
        files = ImageFiles(category, lambda: depth or Depth(), str(depth))
        by_depth = [(path.relative_to(folder).parts, path) for path in folders.scan(folder).images]
        return [
            files.sample("train", path.relative_to(self.root).as_posix(), ("defective", *parts[:-1])[-1], path)
            for parts, path in sorted(by_depth, key=lambda pair: len(pair[0]))
            if len(parts) <= 2 and not layout.is_good(parts[0])  # deeper ones belong to other categories
        ]
