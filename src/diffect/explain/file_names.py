"""What the files that are made of an image are called."""

from __future__ import annotations

from collections.abc import Iterable

_PNG = ".png"


def stem(name: str) -> str:
    """The image's name without .png: to it the endings of pictures and of JSON are added."""
    return name[: -len(_PNG)] if name.lower().endswith(_PNG) else name


def check_distinct(names: Iterable[str]) -> None:
    """A ValueError where the files of two images would have one name."""
    taken: dict[str, str] = {}
    for name in names:
        first = taken.setdefault(stem(name), name)
        if first != name:
            raise ValueError(
                f"images holds {first} and {name}, whose pictures would both be {stem(name)}{_PNG}; rename one, or set "
                "maps=false explain=false"
            )
