"""Which files below a folder are images, and what becomes of all others: the one reader for data, train and score."""

import difflib
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from diffect.config.description import counted
from diffect.config.types import as_list
from diffect.storage.written import MANIFEST

EXTENSIONS = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_DOCUMENTS = (".txt", ".md", ".csv", ".tsv", ".json", ".xml", ".yaml", ".yml", ".html", ".pdf", ".log", ".ini")
_SYSTEM = (  # folders and files that operating systems and storage servers leave behind
    *("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "#recycle", "$recycle.bin"),
    *("system volume information", "lost+found"),
)

HIDDEN = "hidden or system files"
DOCUMENT = "documents"
UNREAD = f"a format that is not read; {', '.join(one[1:] for one in EXTENSIONS)} are"
NOWHERE = "links that lead nowhere"
ROUND = "links to a folder that they lie in"
OURS = "results that diffect wrote"
CLOSED = "no permission to open them"
SPECIAL = "pipes, sockets or devices"
EXPECTED = (HIDDEN, DOCUMENT)  # reasons that no result depends on
_NOUNS = {NOWHERE: "link", ROUND: "link", OURS: "folder", CLOSED: "folder"}  # of what is ignored for a reason

Ignored = dict[str, list[str]]  # reason: names of files, relative to their folder


@dataclass(frozen=True)
class Listing:
    """The files in a folder and below it: each is an image by its name, or ignored with a reason.

    images: sorted paths. ignored: (path, reason), sorted. Whether an image can be read shows when it is decoded.
    """

    root: Path
    images: list[Path]
    ignored: list[tuple[Path, str]]

    @property
    def named(self) -> list[tuple[str, Path]]:
        """The images with their names."""
        return [(self.name(path), path) for path in self.images]

    def name(self, path: Path) -> str:
        """The path of a file in the folder, such as monday/003.png."""
        return path.relative_to(self.root).as_posix()

    def reasons(self) -> Ignored:
        """The names of the ignored files by reason."""
        by_reason = defaultdict(list)
        for path, reason in self.ignored:
            by_reason[reason].append(self.name(path))
        return dict(by_reason)


def scan(place: str | Path) -> Listing:
    """The listing of a folder, of a file, or of all that a pattern such as photos/*.png names.

    Links are followed, but not round in circles. A file that is given by its name is taken for an image, whatever that
    name is. ValueError where there is nothing.
    """
    given = Path(place).expanduser()
    if given.is_dir():
        return _listing(given, _visit(given, hidden=False, above=frozenset()))
    if given.exists():  # a name that holds brackets is no pattern
        return Listing(given.parent, [given], [])
    starts = sorted(Path(given.anchor).glob(str(given.relative_to(given.anchor))))
    if not starts:
        raise ValueError(f"{given} does not exist, and no file fits it as a pattern")
    root = Path(os.path.commonpath([start.parent for start in starts]))
    return _listing(root, (entry for start in starts for entry in _visit(start, _hidden(start.name), frozenset())))


def remarks(ignored: Ignored) -> list[str]:
    """A sentence for each reason for which files are ignored, hidden files and documents apart."""
    return [
        f"{counted(len(names), _NOUNS.get(reason, 'file'))} ignored ({reason}){', such as' if names[1:] else ':'} "
        f"{names[0]}"
        for reason, names in ignored.items()
        if reason not in EXPECTED
    ]


def entries(folder: Path) -> list[Path]:
    """The entries of a folder that are not hidden, sorted; none where there is no such folder."""
    return sorted(path for path in folder.iterdir() if not _hidden(path.name)) if folder.is_dir() else []


def folders(folder: Path) -> list[Path]:
    """The folders in a folder that are not hidden, sorted."""
    return [path for path in entries(folder) if path.is_dir()]


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


def unknown(category: str, known: list[str], where: str) -> str:
    """The error for an unknown category, with similar names."""
    near = difflib.get_close_matches(category.lower(), known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}? It" if near else "it"
    return f"data.category={category} is not in {where}: {hint} holds {listed(known)}"


def listed(names: Iterable[str]) -> str:
    """The first 20 names in one line, without leading dots."""
    names = list(names)
    return ", ".join(name.removeprefix(".") for name in names[:20]) + (", ..." if len(names) > 20 else "")


def _listing(root: Path, found: Iterable[tuple[Path, str | None]]) -> Listing:
    found = list(found)
    images = [path for path, reason in found if reason is None]
    return Listing(root, images, [(path, reason) for path, reason in found if reason is not None])


def _visit(path: Path, hidden: bool, above: frozenset[tuple[int, int]]) -> Iterator[tuple[Path, str | None]]:
    """(file, why it is ignored, or None for an image) of a file, or of all files in a folder and below it.

    hidden: whether it is, or lies in a folder that is. above: device and inode of the folders that lead to it.
    """
    if not path.is_dir():
        yield path, HIDDEN if hidden else _reason(path)
        return
    stat = path.stat()
    if (stat.st_dev, stat.st_ino) in above:
        yield path, ROUND
        return
    if (path / MANIFEST).is_file():
        yield path, OURS
        return
    try:
        inside = sorted(path.iterdir())
    except OSError:
        yield path, CLOSED
        return
    for entry in inside:
        yield from _visit(entry, hidden or _hidden(entry.name), above | {(stat.st_dev, stat.st_ino)})


def _reason(path: Path) -> str | None:
    """Why a file that is not hidden is ignored; None where it is an image by its name."""
    if not path.exists():
        return NOWHERE
    if not path.is_file():
        return SPECIAL  # a pipe, say, which would never end
    suffix = path.suffix.lower()
    return None if suffix in EXTENSIONS else DOCUMENT if suffix in _DOCUMENTS else UNREAD


def _hidden(name: str) -> bool:
    return name.startswith((".", "~$")) or name.lower() in _SYSTEM
