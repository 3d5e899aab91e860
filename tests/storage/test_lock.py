"""A lock lets one process in at a time, names its owner, and never outlives it: real processes, one killed."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from diffect.storage import lock as locks
from diffect.storage.lock import HeldError, Owner, lock, once

HOLD = """
import sys, time
from pathlib import Path
from diffect.storage.lock import lock
with lock(Path(sys.argv[1]), wait=True):
    print("held", flush=True)
    time.sleep(100)
"""
COUNT = """
import sys
from pathlib import Path
from diffect.storage import lock as locks
count = Path(sys.argv[1]).with_name("count")
for _ in range(5):
    with locks.lock(Path(sys.argv[1]), wait=True):
        before = int(count.read_text())
        count.write_text(str(before + 1))
"""


def started(program: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True)


def held_by_a_process(path: Path) -> subprocess.Popen[str]:
    process = started(HOLD, path)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def owner_of(path: Path) -> Owner:
    return Owner(**json.loads(path.read_text()))


def test_the_owner_is_named_and_its_death_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "run" / "diffect.lock"
    process = held_by_a_process(path)
    try:
        with pytest.raises(HeldError, match=f"process {process.pid} on .* since 2"), lock(path, wait=False):
            pass
        process.send_signal(signal.SIGSTOP)  # it is stopped, and still its owner
        with pytest.raises(HeldError), lock(path, wait=False):
            pass
    finally:
        os.kill(process.pid, signal.SIGKILL)
    time.sleep(0.2)
    with lock(path, wait=False):  # the process is a zombie, since nobody waited for it
        assert owner_of(path).pid == os.getpid()
    process.wait()
    assert list(path.parent.iterdir()) == []


def test_one_process_at_a_time_and_one_breaks_a_dead_lock(tmp_path: Path) -> None:
    path = tmp_path / "diffect.lock"
    (tmp_path / "count").write_text("0")
    dead = held_by_a_process(path)
    dead.kill()
    dead.wait()
    counting = [started(COUNT, path) for _ in range(3)]
    assert [process.wait() for process in counting] == [0, 0, 0]
    assert (tmp_path / "count").read_text() == "15"
    assert [file.name for file in tmp_path.iterdir()] == ["count"]


@pytest.mark.parametrize("text", ["another machine", ""])  # an owner that ended before it had written its name
def test_an_owner_elsewhere_is_dead_after_a_silence(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "diffect.lock"
    with lock(path, wait=False):
        elsewhere = replace(owner_of(path), host="node7", machine=text)
    path.write_text(json.dumps(asdict(elsewhere)) if text else "")
    with pytest.raises(HeldError, match="node7" if text else "another process"), lock(path, wait=False):
        pass
    silent = path.stat().st_mtime - locks.SILENCE - 1
    os.utime(path, (silent, silent))
    with lock(path, wait=False):
        assert owner_of(path).pid == os.getpid()
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_the_users_is_no_lock_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "diffect.lock"
    path.write_text('{"mine": 1}')
    os.utime(path, (0, 0))
    with pytest.raises(ValueError, match="was not written by diffect; move it"), lock(path, wait=True):
        pass
    assert path.read_text() == '{"mine": 1}'


def test_a_number_that_is_another_process_by_now_is_no_owner(tmp_path: Path) -> None:
    path = tmp_path / "diffect.lock"
    with lock(path, wait=False):
        ours = owner_of(path)
    path.write_text(json.dumps(asdict(replace(ours, started=ours.started - 100))))
    with lock(path, wait=False):
        assert owner_of(path).started == ours.started


def test_the_owner_gives_signs_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BEAT", 0.01)
    path = tmp_path / "diffect.lock"
    with lock(path, wait=False):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 0


def test_temporary_files_of_a_killed_process_are_removed_and_no_others(tmp_path: Path) -> None:
    program = """if True:
    import os, signal, sys
    from pathlib import Path
    from diffect.storage.atomic import replacing
    with replacing(Path(sys.argv[1])) as temporary:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    started(program, tmp_path / "resume" / "last.ckpt").wait()
    assert len(list(tmp_path.glob("resume/.last.ckpt.*.tmp"))) == 1
    (tmp_path / ".mine.tmp").touch()
    once(tmp_path, lambda: None, lambda: "made", wait=True)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == [".mine.tmp"]


def test_what_was_made_while_this_process_waited_is_found(tmp_path: Path) -> None:
    process = held_by_a_process(tmp_path / locks.NAME)
    answers = iter([None, "made by the other"])

    def finished() -> str | None:
        if (answer := next(answers)) is None:
            process.kill()
            process.wait()
        return answer

    assert once(tmp_path, finished, lambda: "made here", wait=True) == ("made by the other", True)
    assert once(tmp_path, lambda: None, lambda: "made here", wait=True) == ("made here", False)
