"""Overrides of the command line for Hydra: every key can be set, and a path is read as it was typed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ValueType
from hydra.errors import HydraException
from omegaconf import OmegaConf

from diffect.config.files import config_folder

_SWEPT = ("train", "tune")  # the commands that take several values of a key
_HYDRAS = ("hydra.run.dir", "hydra.sweep.dir")
_PLAIN = re.compile(r"(?!(null|true|false|inf|nan)$)[A-Za-z_./][\w./:-]*", re.IGNORECASE | re.ASCII)


def reachable(override: str) -> str:
    """The override with Hydra's `++`, which sets a key that no file lists; choices of groups stay as they are.

    Hydra would refuse such a key, also one that the class takes; `validate` refuses what the class does not take.
    """
    key, equals, _ = override.partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.]*", key) or key in _groups() or key.split(".")[0] == "hydra":
        return override
    return f"++{override}"


def as_typed(override: str, command: str) -> str:
    """The override with its value in quotes, where that is a path or a text which Hydra would read otherwise."""
    key, equals, value = override.partition("=")
    if not equals or _PLAIN.fullmatch(value) or key.lstrip("+~") not in _paths_and_texts(command):
        return override
    path = Path(value).expanduser()
    if not _exists(path) and _is_read_well(f"{key}={value}", command):
        return override
    if value.startswith("~"):
        value = str(path)
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), value)
    return f"{key}='{escaped}'"


def plain(override: str) -> str:
    """The override as a user writes it."""
    return override.lstrip("+")


def _is_read_well(override: str, command: str) -> bool:
    """Whether Hydra reads the value as text, as null, as a list or as several values to sweep over."""
    try:
        parsed = OverridesParser.create().parse_override(override)
    except HydraException:
        return False
    if parsed.value_type == ValueType.ELEMENT:
        return not isinstance(parsed.value(), bool | int | float)
    return command in _SWEPT


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # a text too long for a name
        return False


@cache
def _paths_and_texts(command: str) -> frozenset[str]:
    """The keys of a command that hold paths or texts."""
    from diffect.config.settings import SECTIONS

    hints = get_type_hints(SECTIONS[command], include_extras=True)
    keys = (key for name, hint in hints.items() for key in _marked(name, hint, _choices(name)))
    return frozenset((*keys, *_HYDRAS))


def _choices(group: str) -> list[Any]:
    """What the files of a group hold."""
    paths = sorted((config_folder("train") / group).rglob("*.yaml"))
    return [OmegaConf.to_container(OmegaConf.load(path)) for path in paths]


def _marked(key: str, annotation: Any, nodes: list[Any]) -> Iterator[str]:
    """The key, if it holds a path or a text, and those below it, in sections and in the parts that the nodes name."""
    from diffect.config import static
    from diffect.config.settings import Section
    from diffect.config.types import FILE, PLACE, TEXT
    from diffect.config.validate import metadata

    if {FILE, PLACE, TEXT} & set(metadata(annotation)):
        yield key
    below: dict[str, list[tuple[Any, Any]]] = {}
    if isinstance(annotation, type) and issubclass(annotation, Section):
        for name, hint in get_type_hints(annotation, include_extras=True).items():
            below[name] = [(hint, None)]
    for node in nodes:
        if isinstance(node, dict):
            taken = static.parameters(str(node.get("_target_"))) or {}
            for name in {*node, *taken}:
                found = taken[name].annotation if name in taken else Any
                below.setdefault(str(name), []).append((found, node.get(name)))
    for name, pairs in below.items():
        for hint, inner in pairs:
            yield from _marked(f"{key}.{name}", hint, [inner])


@cache
def _groups() -> frozenset[str]:
    return frozenset(path.name for path in config_folder("train").iterdir() if path.is_dir())
