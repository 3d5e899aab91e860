"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_root() -> Path:
    """The folder of all caches: $DIFFECT_CACHE, or ~/.cache/diffect."""
    return Path(os.environ.get("DIFFECT_CACHE") or "~/.cache/diffect").expanduser()


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`, renamed onto it when the block ends well, removed when not.

    The name is unique, so that concurrent builders of one file never meet; the last one to finish wins.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise ValueError(
            f"the cache file {path} cannot be written ({error.strerror or error}): free some "
            f"space, or set data.cache or DIFFECT_CACHE to a folder that can be written"
        ) from error
    finally:
        # A cache folder that is no folder at all has been reported above.
        if path.parent.is_dir():
            temporary.unlink(missing_ok=True)


def write_atomic(path: Path, data: str | bytes) -> None:
    """Write `data` to `path` under a temporary name, then rename; a failure leaves nothing, as ValueError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(data.encode("utf-8") if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError(f"cannot write {path}: {reason}; free some space, or choose another folder") from error
    finally:
        # After a success nothing is left to remove; after a failure the first error is the one to tell.
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
