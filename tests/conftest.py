"""What all tests share: one thread, no network, caches of their own."""

import os

os.environ |= {
    "OMP_NUM_THREADS": "1",  # two busy cores are slower than one with eager torch
    "WANDB_MODE": "offline",
    "HF_HUB_OFFLINE": "1",
    "MPLBACKEND": "Agg",
}

import pytest


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One cache for the whole session, so that decoded images and features are made once, and never the user's."""
    os.environ["DIFFECT_CACHE"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
