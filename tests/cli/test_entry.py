"""The entry point: quick help without heavy imports, clear answers to wrong calls."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from records import lay, study_records

from diffect.cli.launch import keep_freed_memory
from diffect.cli.main import COMMANDS, main


def test_help_lists_every_command_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from diffect.cli.main import main; main(['--help']); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'hydra', 'wandb', 'pytorch_lightning', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(command in done.stdout for command in COMMANDS)
    assert "diffect train" in done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the allocator is that of glibc")
def test_a_job_uses_memory_again_that_it_freed() -> None:
    code = (
        "import resource; from diffect.cli.launch import keep_freed_memory; keep_freed_memory(); "
        "faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt; first = b'x' * 64_000_000; del first; "
        "start = faults(); again = b'x' * 64_000_000; print(faults() - start)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    assert int(done.stdout) < 1000  # of 15,625 pages


@pytest.mark.parametrize(("accepted", "calls"), [(1, [(-3, 1 << 30), (-1, 1 << 30)]), (0, [(-3, 1 << 30)])])
def test_the_allocator_is_set_as_a_whole_and_only_where_the_user_has_not(
    accepted: int, calls: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[int, int]] = []

    def mallopt(parameter: int, value: int) -> int:
        made.append((parameter, value))
        return accepted

    monkeypatch.setattr("ctypes.CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    monkeypatch.setattr("os.confstr_names", {"CS_GNU_LIBC_VERSION": 2})
    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    keep_freed_memory()
    assert made == []
    monkeypatch.delenv("MALLOC_ARENA_MAX")
    keep_freed_memory()
    assert made == calls


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_each_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert command in capsys.readouterr().out


def test_unknown_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["trian"]) == 2
    assert "did you mean train?" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["report", "--help"], ["--version"], ["trian"]])
@pytest.mark.parametrize("buffering", ["", "1"])
def test_a_reader_that_went_away_ends_a_command_quietly(arguments: list[str], buffering: str) -> None:
    """As `diffect report --help | head -1` does."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-m", "diffect", *arguments],
            stdout=closed,
            stderr=closed if arguments == ["trian"] else subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": buffering},
            check=False,
        )
    assert (done.returncode, done.stderr or b"") == (1, b"")


@pytest.mark.slow
def test_a_report_into_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    lay(tmp_path / "outputs" / "demo", study_records(seeds=(0,)))
    command = [sys.executable, "-m", "diffect", "report", "experiment=demo", "trace=image_auroc,cosine"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as closed:
        done = subprocess.run(command, stdout=closed, stderr=subprocess.PIPE, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr) == (1, b"")


def test_another_broken_pipe_is_no_reader_that_went_away(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise BrokenPipeError("to a worker")

    monkeypatch.setattr("diffect.cli.launch.launch", broken)
    with pytest.raises(BrokenPipeError, match="to a worker"):
        main(["report"])
