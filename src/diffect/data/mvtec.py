"""Any folder in MVTec AD layout as a source of samples: what it holds, and what is wrong with it.

root/<category>/train/good/*            normal images
root/<category>/test/<defect>/*         `good` is normal, every other name is a defect type
root/<category>/ground_truth/<defect>/<stem>_mask.png  (or <stem>.png)
"""

import difflib
import hashlib
import logging
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)

GOOD = "good"
EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# Pictures that a user may believe to be part of the data: refused by name, never skipped in silence.
UNREAD_EXTENSIONS = (
    ".gif",
    ".webp",
    ".heic",
    ".heif",
    ".avif",
    ".jp2",
    ".jxl",
    ".dng",
    ".raw",
    ".exr",
    ".dcm",
)


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


class Folder:
    """A folder of one or more categories in MVTec AD layout.

    Nothing is read until it is asked for, so that a wrong `root` is reported as a ValueError of the call
    that needs it. `root` is named `data.root` in every message, its key on the command line.
    """

    def __init__(self, root: str | Path | None) -> None:
        self._root = root

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
            raise ValueError(
                f"data.root={root} {state}; it must be the folder that holds the category folders"
            )
        if _is_category(root):
            raise ValueError(_too_low(root, root))
        return root

    def categories(self) -> list[str]:
        """All categories, sorted; a ValueError says which folder to pass where there are none."""
        root = self.root
        found = sorted(folder.name for folder in _folders(root) if _is_category(folder))
        if not found:
            raise ValueError(_misplaced(root))
        return found

    def samples(self, category: str) -> list[Sample]:
        """All samples of one category: train, then test, each sorted by name."""
        known = self.categories()
        if category not in known:
            raise ValueError(_unknown(category, known, f"data.root={self._root}"))
        folder = self.root / category
        train = [
            Sample(category, "train", GOOD, f"train/{GOOD}/{path.name}", path, None)
            for path in _pictures(folder / "train" / GOOD)
        ]
        if not train:
            held = ", ".join(sorted(p.name for p in _entries(folder / "train"))[:5]) or "nothing"
            raise ValueError(
                f"category {category} has no normal images: {folder / 'train' / GOOD} must hold "
                f"{_listed(EXTENSIONS)} files ({folder / 'train'} holds {held})"
            )
        for other in _folders(folder / "train"):
            if other.name != GOOD:
                logger.warning("%s is ignored: only train/%s is trained on", other, GOOD)
        test = _test_samples(category, folder)
        if not test:
            raise ValueError(
                f"category {category} has no test images: {folder / 'test'} must hold one folder per defect "
                f"type, and {GOOD}, with {_listed(EXTENSIONS)} files"
            )
        return train + test

    def fingerprint(self, category: str) -> str:
        """Hex SHA-256 over relative names and sizes of all images and masks; no file is opened."""
        digest = hashlib.sha256()
        for sample in self.samples(category):
            line: list[object] = [sample.name, sample.path.stat().st_size]
            if sample.mask is not None:
                line += [sample.mask.name, sample.mask.stat().st_size]
            digest.update(("\t".join(map(str, line)) + "\n").encode())
        return digest.hexdigest()


def choose_categories(wanted: str | Iterable[str], known: list[str]) -> list[str]:
    """The categories named by `data.category` ("all", one name, or a list), in the order given."""
    chosen = (
        (known if wanted == "all" else [wanted])
        if isinstance(wanted, str)
        else [str(name) for name in wanted]
    )
    if not chosen:
        raise ValueError(f"data.category is an empty list; allowed are all, or some of {_listed(known)}")
    for name in chosen:
        if name not in known:
            raise ValueError(_unknown(name, known, "the data"))
        if chosen.count(name) > 1:
            raise ValueError(f"data.category names {name} twice")
    return list(chosen)


def _test_samples(category: str, folder: Path) -> list[Sample]:
    truth = folder / "ground_truth"
    with_masks = any(_pictures(masks) for masks in _folders(truth) if masks.name != GOOD)
    samples = []
    for defect in _folders(folder / "test"):
        pictures = _pictures(defect)
        normal = defect.name == GOOD or not with_masks
        masks = {} if normal else _match_masks(pictures, truth / defect.name)
        samples += [
            Sample(category, "test", defect.name, f"test/{defect.name}/{path.name}", path, masks.get(path))
            for path in pictures
        ]
    return samples


def _match_masks(pictures: list[Path], truth: Path) -> dict[Path, Path]:
    """Each picture's mask, by stem with or without `_mask`; a ValueError where not exactly one fits."""
    by_stem = defaultdict(list)
    for mask in _pictures(truth):
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
    unused = set(_pictures(truth)) - set(matched.values())
    if unused:
        logger.warning("%d masks in %s belong to no image, first %s", len(unused), truth, min(unused).name)
    return matched


def _entries(folder: Path) -> list[Path]:
    # Hidden files are the file system's own (.DS_Store, ._001.png), never data.
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


def _folders(folder: Path) -> list[Path]:
    return [path for path in _entries(folder) if path.is_dir()]


def _pictures(folder: Path) -> list[Path]:
    found = []
    for path in _entries(folder):
        suffix = path.suffix.lower()
        if suffix in UNREAD_EXTENSIONS:
            raise ValueError(f"{path} is not read: convert it to one of {_listed(EXTENSIONS)}, or remove it")
        if suffix in EXTENSIONS and path.is_file():
            found.append(path)
    return found


def _is_category(folder: Path) -> bool:
    return (folder / "train").is_dir() or (folder / "test" / GOOD).is_dir()


def _unknown(category: str, known: list[str], where: str) -> str:
    near = difflib.get_close_matches(category.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"data.category={category} is not in {where}: {hint}It holds {_listed(known)}"


def _too_low(root: Path, category: Path) -> str:
    category = category.absolute()
    what = (
        "is a category itself" if root.absolute() == category else f"lies inside the category {category.name}"
    )
    return f"data.root={root} {what}: pass data.root={category.parent} data.category={category.name}"


def _misplaced(root: Path) -> str:
    """The sentence for a root without categories: which other folder fits."""
    for above in list(root.absolute().parents)[:3]:
        if _is_category(above):
            return _too_low(root, above)
    level = [root]
    for _ in range(3):
        level = [child for folder in level[:500] for child in _folders(folder)]
        datasets = [folder for folder in level if any(_is_category(child) for child in _folders(folder))]
        if datasets:
            return (
                f"data.root={root} is too high, no folder in it is a category: pass data.root="
                f"{' or data.root='.join(str(d) for d in datasets[:3])}"
            )
    held = "it is empty" if not _entries(root) else "no folder in it has train/good"
    return (
        f"data.root={root} is not a dataset in MVTec AD layout, {held}; it must hold one folder per "
        f"category, each with train/good, test and ground_truth"
    )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(name.removeprefix(".") for name in names[:20]) + (", ..." if len(names) > 20 else "")
