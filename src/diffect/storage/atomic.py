"""Files and folders that are written whole or not at all."""

import contextlib
import csv
import errno
import io
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_LEFTOVER = re.compile(r"\..+\.\d+\.[0-9a-f]{8}\.tmp")


@contextmanager
def replacing(path: Path, cure: str = "choose another folder") -> Iterator[Path]:
    """Gives a temporary path beside `path`, which is synced and renamed onto it when the block ends well.

    The name is unique, so several processes may write one file at once, and the last one to finish wins. A failure
    leaves nothing behind. An OSError becomes a ValueError with the cure.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    except OSError as error:
        full = "free some space, or " if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
        raise ValueError(f"cannot write {path}: {error.strerror or error}; {full}{cure}") from error
    finally:
        # After a failure the first error is the one to report.
        with contextlib.suppress(OSError):
            if temporary.is_dir():
                shutil.rmtree(temporary)
            temporary.unlink(missing_ok=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left of `replacing` below a folder that nobody else writes to now."""
    for path in folder.rglob(".*.tmp"):
        if _LEFTOVER.fullmatch(path.name) and path.is_file():
            path.unlink()


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write text or bytes to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data.encode("utf-8") if isinstance(data, str) else data)


def write_csv(path: Path, rows: Iterable[Iterable[object]]) -> None:
    """Write rows as CSV to `path`, whole or not at all."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    write_atomic(path, buffer.getvalue())


def _sync(path: Path) -> None:
    """Force a file's content to the disk, so that a crash after the rename does not leave an empty file."""
    if path.is_file():
        with path.open("rb") as file:
            os.fsync(file.fileno())
