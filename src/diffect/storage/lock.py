"""A lock between processes, on one machine or on several that share a folder. A dead owner's lock is taken over."""

import contextlib
import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import psutil

from diffect.storage.atomic import remove_leftovers

logger = logging.getLogger(__name__)

T = TypeVar("T")

NAME = "diffect.lock"  # in the folder of a run while it is being made
BEAT = 5.0  # seconds between two signs of life of an owner
SILENCE = 60.0  # seconds without one, after which an owner on another machine counts as dead


@dataclass(frozen=True)
class Owner:
    """The process that holds a lock: its machine, its number and start time there, and when it took the lock."""

    host: str
    machine: str
    pid: int
    started: float
    since: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host} since {self.since}"


class HeldError(Exception):
    """Another process holds the lock; says which."""


def once(folder: Path, finished: Callable[[], T | None], make: Callable[[], T], wait: bool) -> tuple[T, bool]:
    """What `finished` finds in the folder, with True, or what `make` makes there, with False; one process at a time.

    A second process waits for the first and finds what it made; without `wait` it raises HeldError.
    """
    if (result := finished()) is not None:
        return result, True
    with lock(folder / NAME, wait):
        remove_leftovers(folder)
        result = finished()  # made by the process that this one waited for
        return (make(), False) if result is None else (result, True)


@contextmanager
def lock(path: Path, wait: bool) -> Iterator[None]:
    """Holds the lock file `path` during the block, once no other process does; without `wait` raises HeldError instead.

    The file is created by O_EXCL, which network file systems keep too, and a thread renews its time of change. The lock
    of a dead owner is taken over: at once if it ran on this machine, else after SILENCE.
    """
    said = ""
    while (mine := _take(path)) is None:
        with contextlib.suppress(FileNotFoundError):  # it was released just now
            state = owner, beat = _look(path)
            if _dead(path, owner, beat):
                with lock(path.with_name(f"{path.name}.takeover"), wait=True):  # one process alone may remove it
                    if _look(path) == state:
                        path.unlink()
                continue
            name = "another process" if owner is None else str(owner)
            if not wait:
                raise HeldError(name)
            if name != said:
                logger.warning("%s is in use by %s: waiting for it to end", path.parent, name)
                said = name
            time.sleep(0.5)
    ended = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, mine, ended), daemon=True)
    heart.start()
    try:
        yield
    finally:
        ended.set()
        heart.join()
        with contextlib.suppress(FileNotFoundError):
            if _look(path)[0] == mine:
                path.unlink()


def _take(path: Path) -> Owner | None:
    """Create the lock with this process as its owner; None if it exists."""
    process, since = psutil.Process(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    owner = Owner(socket.gethostname(), _machine(), process.pid, process.create_time(), since)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
    except (FileExistsError, FileNotFoundError):  # the second: the last user of the folder removed it just now
        return None
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(owner), file)
    return owner


def _look(path: Path) -> tuple[Owner | None, float]:
    """The owner, None while it has not written its name, and the time of its last beat.

    Raises FileNotFoundError if there is no lock, and ValueError for a file that is none.
    """
    with path.open(encoding="utf-8") as file:  # opened, a network file system shows the file as it is now
        text, beat = file.read(), os.fstat(file.fileno()).st_mtime
    try:
        return Owner(**json.loads(text)) if text else None, beat
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path} was not written by diffect; move it to another folder") from error


def _dead(path: Path, owner: Owner | None, beat: float) -> bool:
    """Whether the owner has ended, or has given no sign of life for SILENCE."""
    if owner is not None and owner.machine == _machine():
        try:
            process = psutil.Process(owner.pid)
            same = abs(process.create_time() - owner.started) < 5  # seconds; the number may be another process by now
            return not same or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return not psutil.pid_exists(owner.pid)  # where other users' processes are hidden, this still sees them
    clock = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")  # has the file system's time, as beats have
    clock.touch()
    silence = clock.stat().st_mtime - beat
    clock.unlink()
    return silence > SILENCE


def _beat(path: Path, mine: Owner, ended: threading.Event) -> None:
    with contextlib.suppress(OSError, ValueError):
        while not ended.wait(BEAT) and _look(path)[0] == mine:
            os.utime(path)


def _machine() -> str:
    """Equal for processes that see each other's numbers: the host, its boot, and the namespace of the numbers."""
    names = [socket.gethostname()]
    with contextlib.suppress(OSError):
        names.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip())
        names.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(names)
