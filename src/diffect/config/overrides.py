"""Overrides of the command line: every key that a part takes can be set, whether its file lists it or not."""

from __future__ import annotations

import re
from functools import cache

from diffect.config.files import config_folder


def reachable(override: str) -> str:
    """The override with Hydra's `++`, which sets a key that no file lists; choices of groups stay as they are.

    Hydra would refuse such a key, also one that the class takes; `validate` refuses what the class does not take.
    """
    key, equals, _ = override.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.]*", key) or key in _groups() or key.split(".")[0] == "hydra":
        return override
    return f"++{override}"


def plain(override: str) -> str:
    """The override as a user writes it."""
    return override.lstrip("+")


@cache
def _groups() -> frozenset[str]:
    return frozenset(path.name for path in config_folder("train").iterdir() if path.is_dir())
