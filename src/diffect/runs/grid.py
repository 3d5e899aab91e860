"""The grid of a study: its axes (what varied between the runs), the groups along them, and the holes."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from diffect.runs.statistics import Unit
from diffect.runs.table import DEFAULT, Run

_NO_AXES = ("data.category", "seed", "study", "experiment")


@dataclass(frozen=True)
class Group:
    """The runs that agree in all axes; `missing` are the units that other groups have and this one lacks."""

    values: tuple[str, ...]
    runs: tuple[Run, ...]
    missing: tuple[tuple[tuple[str, ...], int], ...] = ()


def axes(runs: Sequence[Run]) -> tuple[str, ...]:
    """The choices that vary between the runs, in alphabetical order; never the category or the seed.

    A choice under `data` is no axis where it only follows the category, as another root does.
    """
    keys = sorted({key for run in runs for key in run.choices} - set(_NO_AXES))
    found = []
    for key in keys:
        if len({run.choices.get(key, DEFAULT) for run in runs}) < 2:
            continue
        if key.split(".")[0] == "data":
            seen: dict[Any, set[str]] = {}
            for run in runs:
                seen.setdefault(run.unit[0], set()).add(run.choices.get(key, DEFAULT))
            if all(len(values) == 1 for values in seen.values()):
                continue
        found.append(key)
    return tuple(found)


def groups(runs: Sequence[Run], keys: Sequence[str]) -> list[Group]:
    """The runs grouped by their values of the axes `keys`, in natural order, each with its missing units."""
    units = sorted({run.unit for run in runs})
    by_values: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        by_values.setdefault(tuple(run.choices.get(key, DEFAULT) for key in keys), []).append(run)
    found = []
    for values in sorted(by_values, key=natural):
        members = tuple(by_values[values])
        present = {run.unit for run in members}
        found.append(Group(values, members, tuple(unit for unit in units if unit not in present)))
    return found


def absent(found: Sequence[Group]) -> list[tuple[str, ...]]:
    """The combinations of the groups' values that no run has: the holes of a crossed grid."""
    if not found:
        return []
    columns = [sorted({group.values[i] for group in found}) for i in range(len(found[0].values))]
    have = {group.values for group in found}
    return sorted((values for values in product(*columns) if values not in have), key=natural)


def natural(values: Iterable[str]) -> tuple[tuple[int, float, str], ...]:
    """A sort key that puts numbers in their own order, before words."""

    def key(value: str) -> tuple[int, float, str]:
        try:
            number = float(value)
        except ValueError:
            return 1, 0.0, value
        return (0, number, value) if number == number else (1, 0.0, value)

    return tuple(key(value) for value in values)


def cells(runs: Iterable[Run], metric: str) -> tuple[dict[Unit, float | None], dict[Unit, Any]]:
    """A group's values and bootstrap replicates of one metric, both keyed by (category, seed)."""
    values: dict[Unit, float | None] = {}
    replicates: dict[Unit, Any] = {}
    for run in runs:
        drawn: Mapping[str, Any] = run.record.get("replicates") or {}
        for category in run.record["categories"]:
            unit = (str(category), int(run.record["seed"]))
            values[unit] = run.record["metrics"].get(category, {}).get(metric)
            if (drawn.get(category) or {}).get(metric):
                replicates[unit] = drawn[category][metric]
    return values, replicates


def categories(runs: Iterable[Run], metric: str | None = None) -> tuple[str, ...]:
    """All categories of the runs, sorted; with `metric`, those where any run has a value of it."""
    found: Counter[str] = Counter()
    for run in runs:
        for category in run.record["categories"]:
            value = 1.0 if metric is None else run.record["metrics"].get(category, {}).get(metric)
            found[str(category)] += value is not None
    return tuple(sorted(category for category, count in found.items() if count))
