"""Any folder in MVTec AD layout as a source of samples: what it holds, and what is wrong with it.

root/<category>/train/good/*            normal images
root/<category>/test/<defect>/*         `good` is normal, every other name is a defect type
root/<category>/ground_truth/<defect>/<stem>_mask.png  (or <stem>.png)
"""

import logging
from collections import defaultdict
from functools import cache
from pathlib import Path

from diffect.config.types import Place
from diffect.data.sample import GOOD, IMAGE, Kind, Sample, Source
from diffect.data.sources import folders
from diffect.data.sources.files import ImageFiles
from diffect.data.sources.folders import EXTENSIONS

logger = logging.getLogger(__name__)


class Folder(Source):
    """A folder of one or more categories in MVTec AD layout.

    Nothing is read until it is needed, so a wrong `root` is reported by the first call that needs it. Messages name
    `root` as `data.root`, its key on the command line.
    """

    kind: Kind = IMAGE  # type: ignore[assignment]

    def __init__(self, root: Place[str | Path | None]) -> None:
        self._root = root

    def describe(self) -> str:
        """What the folder holds."""
        return "photographs in the layout of MVTec AD [@bergmann2021mvtec]"

    @property
    def root(self) -> Path:
        """The folder; a ValueError where it is not given, missing, a file, or a category itself."""
        if self._root is None:
            raise ValueError(
                "data.root is not set: give data.root=/path/to/dataset, the folder that holds one folder per "
                "category (each with train/good, test and ground_truth)"
            )
        root = Path(self._root).expanduser()
        if not root.is_dir():
            state = "is a file" if root.exists() else "does not exist"
            raise ValueError(f"data.root={root} {state}; it must be the folder that holds the category folders")
        if folders.is_category(root):
            raise ValueError(folders.too_low(root, root))
        return root

    def categories(self) -> list[str]:
        """All categories, sorted; a ValueError says which folder to pass where there are none."""
        root = self.root
        names = sorted(folder.name for folder in folders.folders(root) if folders.is_category(folder))
        if not names:
            raise ValueError(folders.misplaced(root))
        return names

    def samples(self, category: str) -> list[Sample]:
        """All samples of one category: train, then test, each sorted by name."""
        known = self.categories()
        if category not in known:
            raise ValueError(folders.unknown(category, known, f"data.root={self._root}"))
        folder = self.root / category
        files = ImageFiles(category)
        train = [
            files.sample("train", f"train/{GOOD}/{path.name}", GOOD, path)
            for path in folders.pictures(folder / "train" / GOOD)
        ]
        if not train:
            content = ", ".join(sorted(p.name for p in folders.entries(folder / "train"))[:5]) or "nothing"
            raise ValueError(
                f"category {category} has no normal images: {folder / 'train' / GOOD} must hold "
                f"{folders.listed(EXTENSIONS)} files ({folder / 'train'} holds {content})"
            )
        for other in folders.folders(folder / "train"):
            if other.name != GOOD:
                _warn_once(f"{other} is ignored: only train/{GOOD} is trained on")
        test = _test_samples(files, folder)
        if not test:
            raise ValueError(
                f"category {category} has no test images: {folder / 'test'} must hold one folder per defect "
                f"type, and {GOOD}, with {folders.listed(EXTENSIONS)} files"
            )
        return train + test


def _test_samples(files: ImageFiles, folder: Path) -> list[Sample]:
    truth = folder / "ground_truth"
    with_masks = any(folders.pictures(masks) for masks in folders.folders(truth) if masks.name != GOOD)
    samples = []
    for defect in folders.folders(folder / "test"):
        pictures = folders.pictures(defect)
        normal = defect.name == GOOD or not with_masks
        masks = {} if normal else _match_masks(pictures, truth / defect.name)
        samples += [
            files.sample("test", f"test/{defect.name}/{path.name}", defect.name, path, masks.get(path))
            for path in pictures
        ]
    return samples


def _match_masks(pictures: list[Path], truth: Path) -> dict[Path, Path]:
    """Each picture's mask, by stem with or without `_mask`; a ValueError where not exactly one fits."""
    by_stem = defaultdict(list)
    for mask in folders.pictures(truth):
        by_stem[mask.stem].append(mask)
    matched: dict[Path, Path] = {}
    missing = []
    owners: dict[str, Path] = {}
    for path in pictures:
        fitting = by_stem[f"{path.stem}_mask"] + by_stem[path.stem]
        if path.stem in owners or len(fitting) > 1:
            clash = [path, owners[path.stem]] if path.stem in owners else fitting
            raise ValueError(
                f"masks are matched by stem, and {clash[0]} and {clash[1]} share one; rename or remove one"
            )
        owners[path.stem] = path
        if fitting:
            matched[path] = fitting[0]
        else:
            missing.append(path)
    if missing:
        raise ValueError(
            f"{len(missing)} of {len(pictures)} images in {missing[0].parent} have no mask, first "
            f"{missing[0].name}: add {truth / missing[0].stem}_mask.png, or remove the category's "
            f"ground_truth folder to have image metrics only"
        )
    unused = set(folders.pictures(truth)) - set(matched.values())
    if unused:
        _warn_once(f"{len(unused)} masks in {truth} belong to no image, first {min(unused).name}")
    return matched


@cache
def _warn_once(sentence: str) -> None:
    # A folder is scanned several times in one run: for its fingerprint, and for its images.
    logger.warning("%s", sentence)
