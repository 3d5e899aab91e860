"""Types for the arguments of constructors. They carry bounds, and say what may change no number of a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar

from annotated_types import Ge, Gt, Interval, MinLen
from pydantic import StringConstraints

T = TypeVar("T")


@dataclass(frozen=True)
class Phrase:
    """What is allowed, in words, where the type alone does not say it well."""

    text: str


@dataclass(frozen=True)
class Mark:
    """What a value means for the identity of a run, beside its type."""

    name: str


class Part:
    """Stands for an object that the config makes: a mapping with a `_target_`."""

    def __class_getitem__(cls, _: object) -> type[Part]:
        """A generic class is a part whatever its arguments are."""
        return cls


PLACE, FILE, TEXT, DISPLAY, SUPPLIED = map(Mark, ("place", "file", "text", "display", "supplied"))

PositiveInt = Annotated[int, Ge(1)]
NonNegativeInt = Annotated[int, Ge(0)]
PositiveFloat = Annotated[float, Gt(0)]
NonNegativeFloat = Annotated[float, Ge(0)]
Share = Annotated[float, Interval(ge=0, le=1)]
OpenShare = Annotated[float, Interval(gt=0, lt=1)]
Fraction = Annotated[float, Interval(gt=0, le=1)]
LogSNR = Annotated[float, Interval(ge=-20, le=20)]
Levels = Annotated[Sequence[LogSNR], MinLen(1), Phrase("a list of log-SNRs between -20 and 20")]
Range = Annotated[Sequence[float], Phrase("two numbers, [low, high] with low below high")]
Names = Annotated[str | Sequence[str], Phrase("a name or a list of names")]

FolderName = Annotated[
    str, StringConstraints(pattern=r"^[^/\\]{0,254}[^/\\.\s]$"), Phrase("a name for a folder, without / and \\")
]
ProjectName = Annotated[
    str, StringConstraints(pattern=r"^[^/\\#?%:]{1,128}$"), Phrase("1 to 128 characters, none of / \\ # ? % :")
]
EntityName = Annotated[str, StringConstraints(pattern=r"^[\w.-]+$"), Phrase("letters, digits, -, _ and .")]

Place = Annotated[T, PLACE]
"""Says where something lies, never what it is: a run is the same wherever its data and caches are."""

File = Annotated[T, FILE]
"""A path to a file or folder whose content counts, and not its name; what does not exist counts by its name."""

Text = Annotated[T, TEXT]
"""Is read as it was typed: commas and braces in it are no sweep and no dict."""

Display = Annotated[T, DISPLAY]
"""Names, pictures and logs: changes no score."""

Supplied = Annotated[T, SUPPLIED]
"""Computed by the program, such as the number of categories; no config key sets it."""


def as_list(names: str | Iterable[str]) -> list[str]:
    """A name alone or several of them, as a list."""
    return [names] if isinstance(names, str) else [str(name) for name in names]
