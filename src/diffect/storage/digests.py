"""Hashes of files, remembered on disk so that an unchanged file is read once."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from diffect.storage.atomic import write_atomic
from diffect.storage.caches import cache_root

Stamp = tuple[int, int, int, int]  # size in bytes, times of content and of status in nanoseconds, inode

_digests: dict[str, dict[str, tuple[Stamp, str]]] = {}  # of this process: real folder, file, stamp and digest


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file's content, remembered by path, size, times and inode."""
    return file_digests([path])[0]


def file_digests(paths: Iterable[Path]) -> list[str]:
    """The digest of each file; those that are new or changed are read in threads and remembered by folder.

    The time of the status is part of what they are remembered by: an editor can set back that of the content.
    """
    paths = [path.expanduser() for path in paths]
    folders = {parent: os.path.realpath(parent) for parent in {path.parent for path in paths}}
    places = [(folders[path.parent], path.name) for path in paths]
    stamps = dict(zip(places, map(_stamp, paths), strict=True))
    for folder in {folder for folder, _ in places} - _digests.keys():
        _digests[folder] = _recalled(folder)
    new = [place for place, stamp in stamps.items() if _digests[place[0]].get(place[1], (None, ""))[0] != stamp]
    with ThreadPoolExecutor(8) as pool:
        for (folder, name), digest in zip(new, pool.map(_hash, new), strict=True):
            _digests[folder][name] = stamps[folder, name], digest
    for folder in {folder for folder, _ in new}:
        # A cache that cannot be written costs time, not the run.
        with contextlib.suppress(ValueError):
            write_atomic(_file(folder), json.dumps(_digests[folder]))
    return [_digests[folder][name][1] for folder, name in places]


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _hash(place: tuple[str, str]) -> str:
    with Path(*place).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(folder: str) -> Path:
    return cache_root() / "digests" / f"{hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]}.json"


def _recalled(folder: str) -> dict[str, tuple[Stamp, str]]:
    """What is remembered of the files of a folder; what cannot be read is hashed again."""
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        kept = json.loads(_file(folder).read_text())
        return {
            name: ((size, content, status, inode), digest)
            for name, ((size, content, status, inode), digest) in kept.items()
        }
    return {}
