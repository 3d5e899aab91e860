"""What made the numbers of a run: versions, commit, device."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import torch

import diffect
from diffect.config.description import counted

VERSIONS = (
    "diffect",
    "torch",
    "pytorch-lightning",
    "diffusers",
    "hydra-core",
    "wandb",
    "numpy",
    "scikit-image",
)


def versions() -> dict[str, str]:
    """The versions of what computed the numbers."""
    return {name: version(name) for name in VERSIONS} | {"python": platform.python_version()}


def commit() -> str | None:
    """The commit of the checkout that diffect runs from, `+` if it has changes; None outside a checkout."""
    git = ["git", "-C", str(Path(diffect.__file__).parent)]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        changes = subprocess.run([*git, "status", "--porcelain", "."], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if changes.stdout.strip() else "")


def device_name(device: torch.device) -> str:
    """The device, and on a CPU the number of threads."""
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{device.type} {platform.machine()}, {counted(torch.get_num_threads(), 'thread')}"
