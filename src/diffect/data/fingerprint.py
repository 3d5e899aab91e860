"""What names the data of a run: fingerprints of the images that it trains and tests on, and of dirt brought in."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from diffect.data.sample import GOOD, Sample, Source
from diffect.data.sources import folders

OWN = "test"  # in a folder's place: the category's own test defects


@dataclass(frozen=True)
class Brought:
    """Defective images that a folder brings in: those in FOLDER/<category>, or in FOLDER where there is none."""

    root: Path

    def samples(self, category: str) -> list[Sample]:
        """The images for a category: in the folder itself and in its folders, one for each kind, but `good`."""
        folder = self.root / category if (self.root / category).is_dir() else self.root
        if folders.is_category(folder):
            folder = folder / "test"
        kinds = [("defective", folder)] + [(at.name, at) for at in folders.folders(folder) if at.name != GOOD]
        return [
            Sample(category, "train", kind, path.relative_to(self.root).as_posix(), path, None)
            for kind, at in kinds
            for path in folders.pictures(at)
        ]

    def fingerprint(self, category: str) -> str:
        """Hex SHA-256 over names and sizes of the images for a category."""
        held = [f"{sample.name}\t{sample.path.stat().st_size}\n" for sample in self.samples(category)]
        return hashlib.sha256("".join(held).encode()).hexdigest()


def brought(share: float, folder: str | None) -> Brought | None:
    """What `data.contamination` and `data.contamination_from` bring in; None where that is nothing from elsewhere."""
    return Brought(Path(str(folder)).expanduser()) if share and folder not in (None, OWN) else None


def fingerprints(source: Source, categories: Iterable[str], dirt: Brought | None) -> dict[str, str]:
    """Of the source's images, and apart from it of what is brought in, if anything; decodes nothing.

    Hex SHA-256 over the categories' names and fingerprints. Runs that agree in the first are tested on the same images.
    """
    named = list(categories)
    brought_in = {} if dirt is None else {"dirt_fingerprint": _joined([[one, dirt.fingerprint(one)] for one in named])}
    return {"fingerprint": _joined([[one, source.fingerprint(one)] for one in named]), **brought_in}


def _joined(held: list[list[str]]) -> str:
    return hashlib.sha256(json.dumps(held).encode()).hexdigest()
