"""The grid of a study: its axes (what varied between the runs), the groups along them, and the holes."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from diffect.runs.statistics import Unit
from diffect.runs.table import Run


@dataclass(frozen=True)
class Group:
    """The runs that agree in all axes; `missing` are the (category, seed) that only other groups have."""

    values: tuple[str, ...]
    runs: tuple[Run, ...]
    missing: tuple[Unit, ...] = ()

    @property
    def planned(self) -> int:
        """How many runs there would be without holes, at as many categories a run as these have."""
        have = sum(len(run.unit[0]) for run in self.runs)
        return len(self.runs) + math.ceil(len(self.missing) * len(self.runs) / have)


def axes(runs: Sequence[Run]) -> tuple[str, ...]:
    """The choices that vary between the runs, in alphabetical order; not the seed or what follows the category.

    A choice under `data` follows the category where each category has one value of it, as another root for
    another category does. The category itself is an axis only where runs differ in what it was trained with.
    """
    keys = {key for run in runs for key in run.choices} - {"seed", "data.category"}
    found = [key for key in keys if len({run.choice(key) for run in runs}) > 1 and not _follows(key, runs)]
    company: dict[str, set[str]] = {}
    for run in runs:
        for category in run.unit[0]:
            company.setdefault(category, set()).add(run.choice("data.category"))
    if any(len(values) > 1 for values in company.values()):
        found.append("data.category")
    return tuple(sorted(found))


def _follows(key: str, runs: Sequence[Run]) -> bool:
    seen: dict[tuple[str, ...], set[str]] = {}
    for run in runs:
        seen.setdefault(run.unit[0], set()).add(run.choice(key))
    return key.split(".")[0] == "data" and all(len(values) == 1 for values in seen.values())


def groups(runs: Sequence[Run], keys: Sequence[str]) -> list[Group]:
    """The runs grouped by their values of the axes `keys`, in natural order, each with its missing cells."""
    cells = sorted({cell for run in runs for cell in _cells(run)})
    by_values: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        by_values.setdefault(tuple(run.choice(key) for key in keys), []).append(run)
    found = []
    for values in sorted(by_values, key=natural):
        members = tuple(by_values[values])
        present = {cell for run in members for cell in _cells(run)}
        found.append(Group(values, members, tuple(cell for cell in cells if cell not in present)))
    return found


def _cells(run: Run) -> list[Unit]:
    categories, seed = run.unit
    return [(category, seed) for category in categories]


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
    """The values and bootstrap replicates of one metric in a group, both keyed by (category, seed)."""
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
