"""Overrides of the command line for Hydra: every key can be set, and a path is read as it was typed."""

import re
from collections.abc import Sequence
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


def for_hydra(overrides: Sequence[str], command: str) -> list[str]:
    """A command's overrides as a user typed them, as Hydra must be given them; ValueError for one that it cannot read.

    The words of Hydra's own flags, such as those of `--cfg job`, stay as they are.
    """
    given = []
    for before, override in zip(["", *overrides], overrides, strict=False):
        if not override.startswith("-") and ("=" in override or not before.startswith("-")):
            given.append(reachable(as_typed(override, command)))
            _check(given[-1], override, before)
        else:
            given.append(override)
    return given


def _check(given: str, typed: str, before: str) -> None:
    """ValueError where Hydra cannot read an override, with the one `before` it, which it may be a piece of."""
    key, equals, value = typed.partition("=")
    try:
        OverridesParser.create().parse_override(given)
    except HydraException as error:
        if not equals:
            whole = f"; if it belongs to the value before, quote both: '{before} {typed}'" if "=" in before else ""
            raise ValueError(f"{typed} is not a setting KEY=VALUE{whole}") from error
        cure = f"put the value into double quotes inside single ones, '{key}=\"{value}\"'"
        raise ValueError(f"{typed} cannot be read: close its brackets and quotes, or {cure}") from error


def reachable(override: str) -> str:
    """The override with Hydra's `++`, which sets a key that no file lists, or that one does; groups stay as they are.

    Without it Hydra would refuse the first, with `+` the second. `validate` refuses a key that the class does not take.
    """
    key, equals, _ = override.removeprefix("+").partition("=")
    if not equals or not re.fullmatch(r"[A-Za-z_][\w.]*", key) or key in _groups() or key.split(".")[0] == "hydra":
        return override
    return f"++{override.removeprefix('+')}"


def as_typed(override: str, command: str) -> str:
    """The override with its value in quotes, where that is a path or a text which Hydra would read otherwise."""
    key, equals, value = override.partition("=")
    if not equals or _PLAIN.fullmatch(value) or not _as_it_stands(key.lstrip("+~"), command):
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


def _as_it_stands(key: str, command: str) -> bool:
    """Whether a key holds a path or a text."""
    return key in _HYDRAS or key in _paths_and_texts(command, key.partition(".")[0])


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
def _paths_and_texts(command: str, name: str) -> frozenset[str]:
    """The keys that hold paths or texts: `name` and those below it, in the command's file and those of the group."""
    from diffect.config.check import takes_part
    from diffect.config.settings import SECTIONS
    from diffect.config.types import FILE, PLACE, TEXT
    from diffect.config.validate import settings_below

    hint = get_type_hints(SECTIONS[command], include_extras=True).get(name)
    choices = sorted((config_folder("train") / name).glob("*.yaml")) if takes_part(hint) else []
    values = [_content(config_folder(command) / f"{command}.yaml").get(name), *map(_content, choices)]
    found = (one for value in values for one in settings_below(name, value, (hint,)))
    return frozenset(one.key for one in found if any(map(one.marked, (FILE, PLACE, TEXT))))


def _content(path: Path) -> dict[str, Any]:
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    return {key: value for key, value in content.items() if key not in ("defaults", "hydra")}


@cache
def _groups() -> frozenset[str]:
    return frozenset(path.name for path in config_folder("train").iterdir() if path.is_dir())
