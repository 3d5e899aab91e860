"""What all descriptions of a config are made of: a part's class, its settings in words, numbers, lists."""

from collections.abc import Sequence
from typing import Any

from diffect.reports.escaping import breakable, escape

Config = dict[str, Any]


def part(config: Config, name: str) -> Config:
    """The part `name` of a config; empty where there is none."""
    found = config.get(name)
    return found if isinstance(found, dict) else {}


def kind(node: Config) -> str:
    """The name of the class that a part is an instance of."""
    return str(node.get("_target_", "")).rsplit(".", 1)[-1]


def verbatim(node: Config) -> str:
    """A part that there are no words for: its class and its settings as the config has them.

    Without its seed, which is the run's: it tells no two settings apart.
    """
    settings = _settings(node)
    return rf"\texttt{{{breakable(kind(node) or '?')}}}" + (f" ({breakable(settings)})" if settings else "")


def _settings(node: Config) -> str:
    return ", ".join(
        f"{key}={_setting(value)}" for key, value in node.items() if not key.startswith("_") and key != "seed"
    )


def _setting(value: Any) -> str:
    return f"{kind(value)}({_settings(value)})" if isinstance(value, dict) else str(value)


def number(value: Any) -> str:
    """A number for running text, 0.0001 as 1e-4; anything else literally."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return escape(str(value))
    text = f"{value:g}"
    if "e" in text:
        digits, _, power = text.partition("e")
        factor = "" if digits == "1" else rf"{digits} \cdot "
        return rf"${factor}10^{{{int(power)}}}$"
    return f"${text}$" if text.startswith("-") else text


def listed(items: Sequence[str], most: int = 24) -> str:
    """ "a, b and c"; of very many the first, and how many more."""
    if len(items) > most:
        return f"{', '.join(items[:most])} and {len(items) - most} more"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def numbers(values: Any) -> str:
    """A list of numbers in words."""
    return listed([number(value) for value in (values if isinstance(values, list | tuple) else [values])])


def counted(count: int, one: str, many: str | None = None) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{count} {one if count == 1 else many or one + 's'}"
