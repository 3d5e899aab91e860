"""The grid of a study: its axes (the choices that vary), the groups of runs along them, and the missing cells."""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any

from diffect.runs.statistics import Cells, Unit
from diffect.runs.table import Run

_BARE = re.compile(r"[-+.\d\[]|(null|true|false|none)$")  # values that mean nothing without the name of their axis


@dataclass(frozen=True)
class Group:
    """The runs that agree in all `axes`; `missing` are the (category, seed) that only other groups have."""

    axes: tuple[str, ...]
    values: tuple[str, ...]
    runs: tuple[Run, ...]
    missing: tuple[Unit, ...] = ()

    @property
    def label(self) -> str:
        """The group's values, as one name; empty where there are no axes. A number is given with its axis."""
        named = zip(short(self.axes), self.values, strict=True)
        return ", ".join(f"{axis}={value}" if _BARE.match(value) else value for axis, value in named)

    @cached_property
    def by_cell(self) -> dict[Unit, Run]:
        """The run of each (category, seed)."""
        return {cell: run for run in self.runs for cell in _cells(run)}

    @property
    def planned(self) -> int:
        """How many runs there would be without missing cells, with as many categories a run as these have."""
        return len(self.runs) + math.ceil(len(self.missing) * len(self.runs) / len(self.by_cell))


def short(axes: Sequence[str]) -> list[str]:
    """Each axis by its last part, where no other axis ends in the same."""
    last = [axis.rsplit(".", 1)[-1] for axis in axes]
    return [part if last.count(part) == 1 else axis for part, axis in zip(last, axes, strict=True)]


def axes(runs: Sequence[Run]) -> tuple[str, ...]:
    """The choices that tell the groups of runs apart, in alphabetical order; not the seed.

    They are the choices that vary, less those that follow from another (see `followers`). The category itself
    is an axis only where runs differ in what it was trained with.
    """
    leading, _ = _leaders(runs)
    trained_with = {(category, run.choice("data.category")) for run in runs for category in run.unit[0]}
    if len(trained_with) > len({category for category, _ in trained_with}):
        leading.append("data.category")
    return tuple(sorted(leading))


def followers(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """By axis, the choices that vary only with it: one value for each value of the axis, as the parts of a detector."""
    _, leader_of = _leaders(runs)
    leaders = sorted(set(leader_of.values()))
    return {leader: tuple(sorted(key for key in leader_of if leader_of[key] == leader)) for leader in leaders}


def _leaders(runs: Sequence[Run]) -> tuple[list[str], dict[str, str]]:
    """The varying choices that lead, and for each other one the choice from which it follows.

    Of groups that follow from each other one leads: a group without a part in the config first, since it was chosen
    to set the others; then the one with more values; then by name. From a single key a choice follows only if the key
    follows from it too: both always change together.
    """
    columns = _varying(runs)

    def weight(key: str) -> tuple[bool, bool, int, str]:
        configured = any(isinstance(run.record.config.get(key), dict) for run in runs)
        return "." in key, configured, -len(set(columns[key])), key

    def follows(key: str, leader: str) -> bool:
        pair = columns[leader], columns[key]
        return _one_to_each(*pair) and ("." not in leader or _one_to_each(*reversed(pair)))

    leading: list[str] = []
    leader_of: dict[str, str] = {}
    for key in sorted(columns, key=weight):
        leaders = (one for one in leading if follows(key, one))
        if (leader := next(leaders, None)) is None:
            leading.append(key)
        else:
            leader_of[key] = leader
    return leading, leader_of


def _varying(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The choices of which the runs have several values, run by run; not the seed, nor what follows the category.

    A choice under `data` follows the category where each category has one value of it, as another root for
    another category does.
    """
    keys = {key for run in runs for key in run.choices} - {"seed", "data.category"}
    columns = {key: [run.choice(key) for run in runs] for key in keys}
    categories = [run.unit[0] for run in runs]
    return {
        key: values
        for key, values in columns.items()
        if len(set(values)) > 1 and not (key.split(".")[0] == "data" and _one_to_each(categories, values))
    }


def _one_to_each(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Whether the second of each pair is a function of the first."""
    return len(set(zip(first, second, strict=True))) == len(set(first))


def groups(runs: Sequence[Run], keys: Sequence[str]) -> list[Group]:
    """The runs grouped by their values of the axes `keys`, in natural order, each with its missing cells."""
    cells = sorted({cell for run in runs for cell in _cells(run)})
    by_values: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        by_values.setdefault(tuple(run.choice(key) for key in keys), []).append(run)
    ordered = []
    for values in sorted(by_values, key=natural):
        group = Group(tuple(keys), values, tuple(by_values[values]))
        ordered.append(replace(group, missing=tuple(cell for cell in cells if cell not in group.by_cell)))
    return ordered


def _cells(run: Run) -> list[Unit]:
    categories, seed = run.unit
    return [(category, seed) for category in categories]


def absent(groups: Sequence[Group]) -> list[tuple[str, ...]]:
    """The combinations of the groups' values that no run has: the holes of a crossed grid."""
    have = {group.values for group in groups}
    columns = [sorted(set(values)) for values in zip(*have, strict=True)]
    return sorted(set(product(*columns)) - have, key=natural) if have else []


def natural(values: Iterable[str]) -> tuple[tuple[int, float, str], ...]:
    """A sort key that puts numbers in their own order, before words."""

    def key(value: str) -> tuple[int, float, str]:
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        return (1, 0.0, value) if math.isnan(number) else (0, number, value)

    return tuple(key(value) for value in values)


def cells(runs: Iterable[Run], metric: str) -> Cells:
    """The values and bootstrap replicates of one metric in a group, both keyed by (category, seed)."""
    values: dict[Unit, float | None] = {}
    replicates: dict[Unit, Any] = {}
    for run in runs:
        for category, result in run.record.results.items():
            unit = (category, run.record.seed)
            values[unit] = result.metrics.get(metric)
            if drawn := result.replicates.get(metric):
                replicates[unit] = drawn
    return values, replicates


def figure(run: Run, category: str, metric: str) -> float | None:
    """The run's figure on one category; None where it has none."""
    result = run.record.results.get(category)
    return None if result is None else result.metrics.get(metric)


def same_images(a: Run, b: Run, category: str) -> bool:
    """Whether two runs were tested on the same images of `category`, in one order: only then do they pair."""
    if a.unit[0] == b.unit[0] and a.record.fingerprint != b.record.fingerprint:  # it is one of all the run's categories
        return False
    return _images(a, category) == _images(b, category)


def _images(run: Run, category: str) -> list[tuple[str, bool]]:
    result = run.record.results.get(category)
    return [] if result is None else [(row.name, row.anomalous) for row in result.scores]


def categories(runs: Sequence[Run], metric: str | None = None) -> tuple[str, ...]:
    """All categories of the runs, sorted; with `metric`, those where any run has a value of it."""
    every = {category for run in runs for category in run.record.categories}
    if metric is None:
        return tuple(sorted(every))
    return tuple(sorted(name for name in every if any(figure(run, name, metric) is not None for run in runs)))
