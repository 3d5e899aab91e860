"""Runs as tables: the long one, with a row per figure, and the wide one, with a row per run and category."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from diffect.runs.record import METRICS, Record

if TYPE_CHECKING:  # it is imported where it is used: the runs of `train` need no table
    import pandas as pd

DEFAULT = "default"  # what stands for a choice in a run that did not make it


@dataclass(frozen=True)
class Run:
    """A record and where it lies: in the run's folder, or in a W&B log or run, which hold no pictures."""

    folder: Path
    record: Record = field(repr=False)

    @property
    def name(self) -> str:
        """The run's id in W&B, for every source; its signature if it was never logged."""
        return self.record.wandb.id if self.record.wandb else self.record.signature

    @cached_property
    def choices(self) -> dict[str, str]:
        """The choices that can change a number, and where the data came from."""
        choices = self.record.choices
        return {key: choices[key] for key in choices if self.record.counts(key) or key.startswith("data.")}

    def choice(self, key: str) -> str:
        """The run's value on the axis `key`; for the category: whether it was trained alone or with others."""
        if key != "data.category":
            return self.choices.get(key, DEFAULT)
        names = self.unit[0]
        return "alone" if len(names) == 1 else f"{len(names)} together: {'+'.join(names)}"

    @property
    def unit(self) -> tuple[tuple[str, ...], int]:
        """The categories and the seed of the run."""
        return tuple(self.record.categories), self.record.seed


@dataclass(frozen=True)
class LeftOut:
    """A run (by its signature) or a file (by its path) that is not in the tables, and the reason in one clause."""

    name: str
    reason: str


def gather(sources: Iterable[tuple[Path, str, Callable[[], Record]]]) -> tuple[list[Run], list[LeftOut]]:
    """The runs from where each lies, its name, and what reads its record; and those whose record cannot be read."""
    runs: list[Run] = []
    unread: list[LeftOut] = []
    for folder, name, read in sources:
        try:
            runs.append(Run(folder, read()))
        except ValueError as error:
            unread.append(LeftOut(name, str(error)))
    return runs, unread


def long(runs: Iterable[Run]) -> pd.DataFrame:
    """A row per run, category and metric, metrics in the order of tables: every choice that any of the runs made,
    the value, and `lo` and `hi`, the ends of its 95% interval over the test images.
    """
    import pandas as pd

    runs = list(runs)
    counted = {key for run in runs for key in run.choices if run.record.counts(key)}
    keys = sorted(counted - {"seed", "data.category"})  # which have columns of their own
    order = {metric.name: place for place, metric in enumerate(METRICS)}
    rows = []
    for run in runs:
        record = run.record
        names = (run.name, record.signature, record.study, *(run.choices.get(key, DEFAULT) for key in keys))
        for category in record.categories:
            result = record.results[category]
            for metric in sorted(result.metrics, key=lambda name: (order.get(name, len(order)), name)):
                figures = (result.metrics[metric], *(result.intervals.get(metric) or (None, None)))
                rows.append((*names, category, record.seed, metric, *figures))
    columns = ["run", "signature", "experiment", *keys, "category", "seed", "metric", "value", "lo", "hi"]
    return pd.DataFrame(rows, columns=columns)


def wide(runs: Iterable[Run], keys: Sequence[str]) -> pd.DataFrame:
    """A row per run and category: the choices `keys`, and each metric with the ends of its interval."""
    import pandas as pd

    names = [metric.name for metric in METRICS]
    rows = []
    for run in runs:
        record = run.record
        for category in record.categories:
            result = record.results[category]
            ends = {name: result.intervals.get(name) or (None, None) for name in names}
            figures = [figure for name in names for figure in (result.metrics.get(name), *ends[name])]
            choices = (run.choice(key) for key in keys)
            rows.append((record.signature, record.study, *choices, category, record.seed, *figures))
    columns = [column for name in names for column in (name, f"{name}_lo", f"{name}_hi")]
    return pd.DataFrame(rows, columns=["signature", "study", *keys, "category", "seed", *columns])


def csv_text(frame: pd.DataFrame) -> str:
    """The frame as CSV, figures to the last digit, nothing where there is none."""
    return str(frame.to_csv(index=False, lineterminator="\n"))
