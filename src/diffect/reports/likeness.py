"""Whether the runs of a group differ in nothing that they should share, so that their mean is of one thing."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from diffect.reports.notes import listed
from diffect.runs.fingerprint import IRRELEVANT
from diffect.runs.grid import Group
from diffect.runs.selection import flat
from diffect.runs.table import Run

_FEW = 3  # keys that a note names


def note(groups: Sequence[Group]) -> str:
    """The config keys in which runs of one group differ, seed and data apart; nothing where there are none."""
    found = [(group, _differing(group.runs)) for group in groups]
    told = [f"{f'{group.label}: ' if group.label else ''}{_told(keys)}" for group, keys in found if keys]
    if not told:
        return ""
    return f"runs of one group differ in more than seed and data ({'; '.join(told)}): what is said of it mixes them."


def _differing(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The config keys that the runs have several values of, each with the runs that have not the commonest."""
    configs = {run.record.signature: _settings(run) for run in runs}
    found = {}
    for key in sorted({key for config in configs.values() for key in config}):
        values = {name: repr(config.get(key)) for name, config in configs.items()}
        common = Counter(values.values()).most_common(1)[0][0] if values else ""
        if odd := sorted(name for name, value in values.items() if value != common):
            found[key] = odd
    return found


def _settings(run: Run) -> dict[str, Any]:
    """The run's config by dotted key, without seeds, data and what cannot change a number."""
    return {
        key: value
        for key, value in flat(run.record.config).items()
        if key.rsplit(".", 1)[-1] != "seed"
        and not any(f"{key}.".startswith(f"{name}.") for name in ("data", *IRRELEVANT))
    }


def _told(differing: dict[str, list[str]]) -> str:
    parts = [f"{key} of {listed(runs)}" for key, runs in list(differing.items())[:_FEW]]
    more = len(differing) - _FEW
    return ", ".join(parts) + (f" and {more} more keys" if more > 0 else "")
