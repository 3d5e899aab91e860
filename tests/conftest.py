"""What all tests share: one thread, no network, a cache for the session."""

import os

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
