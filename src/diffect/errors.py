"""Errors as one sentence: what was found, what is allowed, which key to change."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

from hydra.errors import HydraException, InstantiationException
from omegaconf.errors import OmegaConfBaseException


def expected(error: BaseException) -> bool:
    """Whether an error is the user's to correct; it is then printed as a sentence, without a traceback."""
    return isinstance(error, ValueError | OSError | HydraException | OmegaConfBaseException)


def suggest(wrong: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """ "; did you mean NAME?" for the known name that is nearest to a wrong one, if any is near."""
    near = get_close_matches(wrong, list(known), 1, cutoff)
    return f"; did you mean {near[0]}?" if near else ""


def listed(names: Iterable[object], last: str = "and") -> str:
    """The names as a sentence has them: "a, b and c"."""
    *first, final = map(str, names)
    return f"{', '.join(first)} {last} {final}" if first else final


def first_line(error: BaseException) -> str:
    """The first line of an error of another library, or its type where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def sentence(error: BaseException) -> str:
    """The error on one line."""
    key = ""
    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        # `instantiate` wraps the real error, and knows which part of the config it made.
        key = next(iter(re.findall(r"full_key: (\S+)", str(error))), key)
        error = error.__cause__
    text = str(error) or type(error).__name__
    if found := re.match(r"\w+ raised while resolving interpolation: (.*)\n\s+full_key:", text, re.S):
        text = found.group(1)  # our sentence, raised while the run's folder was named
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename or 'a file'}: {error.strerror}"
    elif key and not any(part in text for part in key.split(".")):
        text = f"{key}: {text}"  # another library's words, which do not name our key
    for plain in (_choice(text), _override(text), _struct(text), _mandatory(text), _ambiguous(text)):
        if plain:
            return plain
    return re.sub(r"\s+", " ", text).strip()


def _choice(text: str) -> str | None:
    found = re.search(
        r"Could not find '([\w/@.]+)/([^'/]*)'\s*Available options in '[^']*':\s*(.*?)(?:\n\s*\n|$)", text, re.S
    )
    if not found:
        return None
    group, wrong, listing = found.groups()
    listing = listing.partition("Config search path")[0]  # the search path, which lists no choices
    there = [line.strip() for line in listing.splitlines() if line.strip()]
    return f"there is no {group}={wrong}{suggest(wrong, there) or ';'} There are: {', '.join(there)}"


def _override(text: str) -> str | None:
    found = re.search(r"Could not override '([^']+)'", text)
    return f"there is no config key {found.group(1)}; `--help` lists those there are" if found else None


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
