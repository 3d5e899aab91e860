"""Folders in which diffect removes and replaces only what it wrote there itself: `written.json` names these files."""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from diffect.storage.atomic import write_atomic

MANIFEST = "written.json"
_SYSTEM = ("Thumbs.db", "desktop.ini", MANIFEST)


def claim(folder: Path, names: Iterable[str], source: str, key: str) -> None:
    """Make a folder ready for files of these names: those that an earlier call wrote there are removed.

    The names are listed before any file is written, so that a killed process leaves no unknown file.

    Args:
        folder: need not exist.
        names: paths in the folder, with slashes.
        source: says what the files are made of, see `free`.
        key: of the config, for the error.

    Raises:
        ValueError: the folder is a file, or holds a file that diffect did not write.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{key} is {folder}, which is a file; give a new or an empty folder")
    if (stranger := first_stranger(folder)) is not None:
        raise ValueError(
            f"{key} is {folder}, which holds {stranger}, not written by diffect; give a new or an empty folder"
        )
    remove(folder)
    note(folder, names, source)


@contextmanager
def publishing(folder: Path, source: str, key: str) -> Iterator[Path]:
    """Gives an empty folder, whose files take the place of those that an earlier call wrote into `folder`.

    All other files there stay. ValueError, and nothing changed, where one of them has a name that is needed.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.")
    except OSError as error:
        raise ValueError(f"cannot write {folder}: {error.strerror or error}; choose another folder") from error
    with temporary:
        made = Path(temporary.name)
        yield made
        names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
        known = _files(folder)
        for name in names:
            if name not in known and (folder / name).exists():
                raise ValueError(
                    f"{key} is {folder}, which holds {name}, not written by diffect: give another folder, or move it"
                )
        remove(folder)
        note(folder, names, source)
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (made / name).replace(folder / name)


def free(folder: Path, source: str) -> Path:
    """The first of folder, folder-2, folder-3, ... that is empty or whose files were made of the same source."""
    for number in count(1):
        chosen = folder if number == 1 else folder.with_name(f"{folder.name}-{number}")
        if not chosen.exists() or _manifest(chosen).get("source") == source:
            return chosen
    raise AssertionError


def note(folder: Path, names: Iterable[str], source: str) -> None:
    """List the files that are about to be written into a folder."""
    content = {"source": source, "files": sorted(names)}
    write_atomic(folder / MANIFEST, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def remove(folder: Path) -> None:
    """Remove the files that the folder's manifest lists, and the folders that are empty then; nothing else."""
    files = [folder / name for name in _files(folder)]
    for path in files:
        path.unlink(missing_ok=True)
    parents = {above for path in files for above in path.parents if above.is_relative_to(folder) and above != folder}
    for path in sorted(parents, key=lambda path: len(path.parts), reverse=True):
        if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
            path.rmdir()
    (folder / MANIFEST).unlink(missing_ok=True)


def first_stranger(folder: Path) -> str | None:
    """A file in a folder that its manifest does not list, if there is one; hidden and system files do not count."""
    known = set(_files(folder))
    for parent, _, names in os.walk(folder):
        for name in sorted(names):
            path = (Path(parent) / name).relative_to(folder).as_posix()
            if path not in known and not name.startswith(".") and name not in _SYSTEM:
                return path
    return None


def _files(folder: Path) -> Sequence[str]:
    """The names in a folder's manifest, without those that would lead out of the folder."""
    names = [str(name) for name in _manifest(folder).get("files", [])]
    return [name for name in names if not PurePosixPath(name).is_absolute() and ".." not in PurePosixPath(name).parts]


def _manifest(folder: Path) -> dict[str, Any]:
    """The folder's manifest; empty where there is none that can be read."""
    try:
        content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def stems(names: Iterable[str]) -> dict[str, str]:
    """For each image's name the stem of the files made of it: the name without .png, unless another took that stem.

    No two stems differ only in case, since many file systems do not tell these apart.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        short = name[: -len(".png")] if name.lower().endswith(".png") else name
        tried = chain((short, name), (f"{name}-{number}" for number in count(2)))
        found[name] = next(stem for stem in tried if stem.casefold() not in taken)
        taken.add(found[name].casefold())
    return found
