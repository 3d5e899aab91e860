"""`diffect <command> --help`: the command's own config file, comments and all, and the choices of each group."""

import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path


def text(command: str, folder: Path, overrides: Sequence[str] = ()) -> str:
    """What a command does, its groups with a line for each choice, its keys with their defaults and comments.

    Args:
        command: its name.
        folder: of its config file.
        overrides: `hydra.searchpath=[...]` among them adds the choices of other folders.
    """
    folders = [folder, *_searched(overrides)]
    lines = (folder / f"{command}.yaml").read_text(encoding="utf-8").splitlines()
    head = [line.removeprefix("# ") for line in lines[: _first(lines, "defaults:")]]
    start, end = _first(lines, "defaults:"), _first(lines, "hydra:")
    defaults = [line.strip().removeprefix("- ") for line in lines[start + 1 : _after(lines, start)]]
    parts = ["\n".join(head)]
    for default in defaults:
        group, _, chosen = default.partition(": ")
        if not chosen or group.startswith("override"):
            continue  # the file itself, or another command's config, which has a help text of its own
        parts.append(_listed(group, folders, chosen))
        inner = {path.name for each in folders for path in (each / group).glob("*") if path.is_dir()}
        parts += [_listed(f"{group}/{name}", folders, "") for name in sorted(inner)]
    keys = "\n".join(lines[_after(lines, start) : end]).strip()
    parts.append("keys, with their defaults; a group's keys are under its name, e.g. schedule.endpoints\n\n" + keys)
    parts.append(f"`diffect {command} --cfg job [overrides]` prints the config as composed; -m sweeps over a=1,2.")
    return "\n\n".join(part for part in parts if part)


def _searched(overrides: Sequence[str]) -> list[Path]:
    """The folders of `hydra.searchpath`: file://FOLDER, FOLDER or pkg://PACKAGE.FOLDER, which is not imported."""
    listed = [value for key, _, value in (item.partition("=") for item in overrides) if key == "hydra.searchpath"]
    found = []
    for place in re.split(r"[\[\],\s]+", ",".join(listed)):
        kind, _, rest = place.rpartition("://")
        if kind == "pkg":
            package, *folders = rest.split(".")
            spec = find_spec(package)
            places = [] if spec is None else list(spec.submodule_search_locations or ())
            found += [Path(each, *folders) for each in places]
        elif rest:
            found.append(Path(rest))
    return found


def _listed(group: str, folders: Sequence[Path], chosen: str) -> str:
    choices = sorted(path for each in folders for path in (each / group).glob("*.yaml"))
    lines = [f"  {'*' if path.stem == chosen else ' '} {path.stem:16} {_summary(path)}" for path in choices]
    return f"{group}=...\n" + "\n".join(lines)


def _summary(path: Path) -> str:
    """The first comment of a choice's file; of an experiment's, its question."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and not line.startswith("# @"):
            return line.removeprefix("# ").removeprefix("Question:").strip()
    return ""


def _first(lines: list[str], start: str) -> int:
    return next((number for number, line in enumerate(lines) if line.startswith(start)), len(lines))


def _after(lines: list[str], block: int) -> int:
    """The line after an indented block that begins at `block`."""
    return next((n for n in range(block + 1, len(lines)) if lines[n] and not lines[n].startswith(" ")), len(lines))
