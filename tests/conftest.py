"""What all tests share: one thread, no network, a cache for the session."""

import os
from collections.abc import Callable
from pathlib import Path

os.environ |= {
    "OMP_NUM_THREADS": "1",  # two busy cores are slower than one with eager torch
    "WANDB_MODE": "offline",
    "WANDB_X_SAVE_REQUIREMENTS": "false",  # listing all packages takes a tenth of a small run
    "WANDB_X_DISABLE_STATS": "true",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "Agg",
}

import pytest


@pytest.fixture(scope="session", autouse=True)
def _test_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One cache for all processes of the session: images and features are made once, and the user's is left alone."""
    folder = tmp_path_factory.getbasetemp()
    shared = folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder
    os.environ["DIFFECT_CACHE"] = str(shared / "cache")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """refused(command, *arguments): the one sentence of the error. The command fails and leaves nothing behind."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # no W&B key of the user's

    def sentence(command: str, *arguments: str) -> str:
        from diffect.cli.main import main

        assert main([command, *arguments]) == 1
        name = f"diffect {command}: "
        (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith(name))
        assert not list(tmp_path.glob("outputs/*/*"))
        return line.removeprefix(name)

    return sentence
