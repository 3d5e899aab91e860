"""Listing a folder in MVTec AD layout, and suggesting the folder that was meant."""

import difflib
from collections.abc import Iterable
from pathlib import Path

from diffect.config.types import as_list
from diffect.data.sample import GOOD

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
# Formats that a user may take for part of the data: refused by name, never skipped silently.
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


def choose_categories(wanted: str | Iterable[str], known: list[str]) -> list[str]:
    """The categories named by `data.category` ("all", one name, or a list), in the order given."""
    if wanted == "all":
        return list(known)
    chosen = as_list(wanted)
    if not chosen:
        raise ValueError(f"data.category is an empty list; allowed are all, or some of {listed(known)}")
    for name in chosen:
        if name not in known:
            raise ValueError(unknown(name, known, "the data"))
        if chosen.count(name) > 1:
            raise ValueError(f"data.category names {name} twice")
    return chosen


def entries(folder: Path) -> list[Path]:
    """The entries of a folder, sorted; none where there is no such folder."""
    # Hidden files are the file system's own (.DS_Store, ._001.png), never data.
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, sorted."""
    return [path for path in entries(folder) if path.is_dir()]


def pictures(folder: Path) -> list[Path]:
    """The image files in a folder, sorted; a ValueError names one in a format that is not read."""
    files = []
    for path in entries(folder):
        suffix = path.suffix.lower()
        if suffix in UNREAD_EXTENSIONS:
            raise ValueError(f"{path} is not read: convert it to one of {listed(EXTENSIONS)}, or remove it")
        if suffix in EXTENSIONS and path.is_file():
            files.append(path)
    return files


def is_category(folder: Path) -> bool:
    """Whether a folder looks like a category: it has train/, or test/good."""
    return (folder / "train").is_dir() or (folder / "test" / GOOD).is_dir()


def unknown(category: str, known: list[str], where: str) -> str:
    """The error for an unknown category, with similar names."""
    near = difflib.get_close_matches(category.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? It" if near else "it"
    return f"data.category={category} is not in {where}: {hint} holds {listed(known)}"


def too_low(root: Path, category: Path) -> str:
    """The error for a root that is a category, or lies inside one."""
    category = category.resolve()
    inside = root.resolve() != category
    what = f"lies inside the category {category.name}" if inside else "is a category itself"
    return f"data.root={root} {what}: pass data.root={category.parent} data.category={category.name}"


def misplaced(root: Path) -> str:
    """The error for a root without categories: which other folder fits."""
    for above in list(root.resolve().parents)[:3]:
        if is_category(above):
            return too_low(root, above)
    level = [root]
    for _ in range(3):
        level = [child for folder in level[:500] for child in folders(folder)]
        datasets = [folder for folder in level if any(is_category(child) for child in folders(folder))]
        if datasets:
            return (
                f"data.root={root} is too high, no folder in it is a category: pass data.root="
                f"{' or data.root='.join(str(d) for d in datasets[:3])}"
            )
    content = "it is empty" if not entries(root) else "no folder in it has train/good"
    return (
        f"data.root={root} is not a dataset in MVTec AD layout, {content}; it must hold one folder per "
        f"category, each with train/good, test and ground_truth"
    )


def listed(names: Iterable[str]) -> str:
    """The first 20 names in one line, without leading dots."""
    names = list(names)
    return ", ".join(name.removeprefix(".") for name in names[:20]) + (", ..." if len(names) > 20 else "")
