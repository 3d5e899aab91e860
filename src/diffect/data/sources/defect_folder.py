"""A folder of defective images that contaminate the training set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from diffect.data.sample import GOOD, Sample, Samples
from diffect.data.sources import folders
from diffect.data.sources.files import ImageFiles

TEST = "test"  # in place of a folder: the category's own test defects


@dataclass(frozen=True)
class DefectFolder(Samples):
    """Defective images for each category: those in FOLDER/<category>, or in FOLDER where there is none."""

    root: Path

    @classmethod
    def of(cls, share: float, folder: str | None) -> DefectFolder | None:
        """The folder that `data.contamination` and `data.contamination_from` name; None where they name none."""
        return cls(Path(str(folder)).expanduser()) if share and folder not in (None, TEST) else None

    def samples(self, category: str, bits: int | None = None) -> list[Sample]:
        """The images of a category: in the folder itself and in its subfolders, one for each defect, except `good`."""
        folder = self.root / category if (self.root / category).is_dir() else self.root
        if folders.is_category(folder):
            folder = folder / "test"
        defects = [("defective", folder)] + [(at.name, at) for at in folders.folders(folder) if at.name != GOOD]
        files = ImageFiles(category, bits)
        return [
            files.sample("train", path.relative_to(self.root).as_posix(), defect, path)
            for defect, at in defects
            for path in folders.pictures(at)
        ]
