"""Lists and counts in running text."""

from collections.abc import Sequence
from typing import Any

Config = dict[str, Any]


def listed(items: Sequence[str], most: int = 24) -> str:
    """ "a, b and c"; of very many the first, and how many more."""
    if len(items) > most:
        return f"{', '.join(items[:most])} and {len(items) - most} more"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def counted(count: int, one: str, many: str | None = None) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{count} {one if count == 1 else many or one + 's'}"
