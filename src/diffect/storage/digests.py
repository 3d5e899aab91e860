"""Hashes of files, remembered on disk so that an unchanged file is read once."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from diffect.storage.atomic import write_atomic
from diffect.storage.caches import cache_root

Stamp = tuple[str, int, int]  # absolute path, size in bytes, mtime in nanoseconds

_digests: dict[Stamp, str] = {}  # of this process
_read: set[Path] = set()  # files of remembered digests that were read


def file_digest(path: Path) -> str:
    """Hex SHA-256 of a file's content, found by path, size and mtime where it was hashed before."""
    return file_digests([path])[0]


def file_digests(paths: Iterable[Path]) -> list[str]:
    """The digest of each file; those that are new are read in threads and remembered by folder."""
    stamps = [_stamp(path.expanduser().absolute()) for path in paths]
    new = {stamp for stamp in stamps if stamp not in _digests}
    for folder in {Path(path).parent for path, _, _ in new}:
        _recall(folder)
    new -= _digests.keys()
    with ThreadPoolExecutor(8) as pool:
        _digests.update(zip(new, pool.map(_hash, new), strict=True))
    for folder in {Path(path).parent for path, _, _ in new}:
        _remember(folder)
    return [_digests[stamp] for stamp in stamps]


def _stamp(path: Path) -> Stamp:
    stat = path.stat()
    return str(path), stat.st_size, stat.st_mtime_ns


def _hash(stamp: Stamp) -> str:
    with Path(stamp[0]).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _file(folder: Path) -> Path:
    return cache_root() / "digests" / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}.json"


def _recall(folder: Path) -> None:
    file = _file(folder)
    if file in _read:
        return
    _read.add(file)
    # What cannot be read is hashed again.
    with contextlib.suppress(OSError, ValueError, TypeError, AttributeError):
        kept = json.loads(file.read_text())
        _digests.update({(str(folder / name), size, mtime): digest for name, (size, mtime, digest) in kept.items()})


def _remember(folder: Path) -> None:
    kept = {
        Path(path).name: (size, mtime, digest)
        for (path, size, mtime), digest in _digests.items()
        if Path(path).parent == folder
    }
    # A cache that cannot be written costs time, not the run.
    with contextlib.suppress(ValueError):
        write_atomic(_file(folder), json.dumps(kept))
