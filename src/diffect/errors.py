"""Errors as one sentence: what was found, what is allowed, which key to change."""

from __future__ import annotations

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path

from hydra.errors import HydraException, InstantiationException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


def expected(error: BaseException) -> bool:
    """Whether an error is the user's to mend: it is then told as a sentence, without a traceback."""
    return isinstance(error, ValueError | OSError | HydraException | OmegaConfBaseException)


def sentence(error: BaseException, conf: Path | None = None) -> str:
    """The error on one line; with the config folder `conf` at hand, near names are offered for a wrong one."""
    key = ""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        # `instantiate` wraps the real error, and knows which part of the config it made.
        key = next(iter(re.findall(r"full_key: (\S+)", str(error))), key)
        error = error.__cause__
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename or 'a file'}: {error.strerror}"
    elif key and not any(part in text for part in key.split(".")):
        text = f"{key}: {text}"  # another library's words, which do not name our key
    for told in (_choice(text), _override(text, conf), _struct(text), _mandatory(text), _ambiguous(text)):
        if told:
            return told
    return re.sub(r"\s+", " ", text).strip()


def _choice(text: str) -> str | None:
    found = re.search(
        r"Could not find '([\w/@.]+)/([^'/]*)'\s*Available options in '[^']*':\s*(.*?)(?:\n\s*\n|$)", text, re.S
    )
    if not found:
        return None
    group, wrong, listing = found.groups()
    listing = listing.partition("Config search path")[0]  # where Hydra looked, which is none of the choices
    there = [line.strip() for line in listing.splitlines() if line.strip()]
    near = get_close_matches(wrong, there, 1)
    hint = f"; did you mean {near[0]}?" if near else ";"
    return f"there is no {group}={wrong}{hint} There are: {', '.join(there)}"


def _override(text: str, conf: Path | None) -> str | None:
    found = re.search(r"Could not override '([^']+)'", text)
    if not found:
        return None
    key = found.group(1)
    known, elsewhere = _known_keys(conf) if conf else ({}, {})
    if key in elsewhere:
        return f"{key} belongs to {' or '.join(elsewhere[key])}; add {elsewhere[key][0]}"
    near = get_close_matches(key, known, 1, 0.75)
    hint = f"; did you mean {near[0]}?" if near else "; `--help` lists those there are"
    return f"there is no config key {key}{hint}"


def _known_keys(conf: Path) -> tuple[dict[str, None], dict[str, list[str]]]:
    """Every key of every file under `conf`, and for those of a group's choices the choices that have them."""
    known: dict[str, None] = {}
    owners: dict[str, list[str]] = {}
    for path in sorted(conf.rglob("*.yaml")):
        group = path.parent.relative_to(conf).as_posix()
        config = OmegaConf.load(path)
        if not isinstance(config, DictConfig) or group.startswith(("hydra", "experiment", "logged")):
            continue
        for key in _leaves(config):
            full = key if group == "." else f"{group}.{key}"
            known[full] = None
            if group != ".":
                owners.setdefault(full, []).append(f"{group}={path.stem}")
    return known, owners


def _leaves(config: DictConfig, before: str = "") -> Iterator[str]:
    for key in map(str, config):
        yield f"{before}{key}"
        if OmegaConf.is_interpolation(config, key) or OmegaConf.is_missing(config, key):
            continue
        if isinstance(config[key], DictConfig):
            yield from _leaves(config[key], f"{before}{key}.")


def _struct(text: str) -> str | None:
    found = re.search(r"Key '([^']*)' is not in struct", text)
    if not found:
        return None
    full = re.search(r"full_key: (\S+)", text)
    return f"there is no config key {full.group(1) if full else found.group(1)}; `--help` lists those there are"


def _mandatory(text: str) -> str | None:
    found = re.search(r"Missing mandatory value: (\S+)", text)
    return f"{found.group(1)} has no value; give it as {found.group(1)}=..." if found else None


def _ambiguous(text: str) -> str | None:
    found = re.search(r"Ambiguous value for argument '([^']*)'", text)
    return f"{found.group(1)} gives several values: add -m to sweep over them, or [..] for a list" if found else None
