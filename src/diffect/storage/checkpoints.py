"""Checkpoint files: written whole or not at all, read without executing anything."""

import io
import pickle
import warnings
from pathlib import Path
from typing import Any

import torch

from diffect.storage.atomic import write_atomic


def write(path: Path, content: dict[str, Any]) -> None:
    """Write tensors, numbers and strings to `path`, whole or not at all."""
    buffer = io.BytesIO()  # torch's writer of files reports a full disk as a RuntimeError
    torch.save(content, buffer)
    write_atomic(path, buffer.getvalue())


def read(path: Path, cure: str) -> dict[str, Any]:
    """What `write` or Lightning wrote; ValueError with `cure`, what to do then, where it is damaged or foreign.

    `weights_only` keeps torch from executing what a tampered file may hold.
    """
    unreadable = f"the checkpoint {path} cannot be read: it is damaged, or none of diffect's; {cure}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # on how the file was pickled, which says nothing about its content
            content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise ValueError(f"there is no {path}; {cure}") from None
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, ValueError, pickle.UnpicklingError) as error:
        # torch advises to switch weights_only off, which nobody should.
        raise ValueError(unreadable) from error
    if not isinstance(content, dict):
        raise ValueError(unreadable)
    return content
