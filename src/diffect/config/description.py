"""How a part of a detector describes itself in the methods section of a report."""

import inspect
import re
from collections.abc import Sequence


class Described:
    """A part that says in a phrase what it is, for running text.

    Plain text without a full stop, citations in pandoc's form: "the cosine schedule [@nichol2021improved]".
    """

    def describe(self) -> str:
        """The first sentence of the class's docstring; a class overrides it to name its settings and sources."""
        first = inspect.cleandoc(type(self).__doc__ or type(self).__name__).partition("\n\n")[0]
        return re.split(r"\.(?=\s+[A-Z]|$)", " ".join(first.split()), maxsplit=1)[0]


def enumerated(values: Sequence[object]) -> str:
    """ "-1, 0 and 2.5" from numbers or words."""
    words = [f"{value:g}" if isinstance(value, int | float) else str(value) for value in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "none"


def counted(count: int, one: str, many: str | None = None) -> str:
    """ "1 draw", "3 draws"."""
    return f"{count} {one if count == 1 else many or one + 's'}"
