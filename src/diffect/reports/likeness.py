"""Whether the runs of a group differ in nothing that they should share, so that their mean is of one thing."""

from collections.abc import Sequence
from typing import Any

from diffect.runs.grid import Group
from diffect.runs.selection import flat
from diffect.runs.signature import IRRELEVANT
from diffect.runs.table import Run

_FEW = 3  # keys that a note names


def note(groups: Sequence[Group]) -> str:
    """The config keys in which runs of one group differ, seed and data apart; nothing where there are none."""
    told = [
        (f"{group.label}: " if group.label else "") + _told(keys)
        for group in groups
        if (keys := _differing(group.runs))
    ]
    if not told:
        return ""
    return f"runs of one group differ in more than seed and data ({'; '.join(told)}): what is said of it mixes them."


def _differing(runs: Sequence[Run]) -> list[str]:
    """The config keys that the runs have several values of."""
    configs = [_settings(run) for run in runs if run.record.get("config")]
    keys = sorted({key for config in configs for key in config})
    return [key for key in keys if len({repr(config.get(key)) for config in configs}) > 1]


def _settings(run: Run) -> dict[str, Any]:
    """The run's config by dotted key, without seeds, data and what cannot change a number."""
    return {
        key: value
        for key, value in flat(run.record["config"]).items()
        if key.rsplit(".", 1)[-1] != "seed"
        and not any(f"{key}.".startswith(f"{name}.") for name in ("data", *IRRELEVANT))
    }


def _told(keys: Sequence[str]) -> str:
    more = len(keys) - _FEW
    return ", ".join(keys[:_FEW]) + (f" and {more} more" if more > 0 else "")
