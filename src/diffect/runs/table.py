"""Runs as tables: the long one, with a row per figure, and the wide one, with a row per run and category."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from diffect.runs.record import METRICS, Record

DEFAULT = "default"  # what stands for a choice in a run that did not make it
NO_EFFECT = (
    "study",
    "study_note",
    "evidence",
    "experiment",
    "tracking",
    "panel",
    "gallery",
    "tune.hindsight",
    "hydra",
    "data.root",
    "data.workers",
    "data.cache",
    "data.source.root",
    "data.source.cache",
    "data.source.sources.folder.root",
    "data.source.sources.textures.cache",
    "trainer.logger",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
)
"""Config keys that change no number: names, places and displays. Tables leave them out."""


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
        return {key: choices[key] for key in choices if key not in NO_EFFECT or key.startswith("data.")}

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


@dataclass(frozen=True)
class Row:
    """One figure of one run on one category, with its 95% interval over the test images."""

    run: str
    signature: str
    experiment: str
    choices: dict[str, str]
    category: str
    seed: int
    metric: str
    value: float | None
    lo: float | None
    hi: float | None


def rows(runs: Iterable[Run]) -> list[Row]:
    """The long table: one row per run, category and metric, in table order of the metrics, then by name."""
    order = {metric.name: place for place, metric in enumerate(METRICS)}
    long: list[Row] = []
    for run in runs:
        record = run.record
        for category in record.categories:
            result = record.results[category]
            for metric in sorted(result.metrics, key=lambda name: (order.get(name, len(order)), name)):
                lo, hi = result.intervals.get(metric) or (None, None)
                cell = (category, record.seed, metric, result.metrics[metric], lo, hi)
                long.append(Row(run.name, record.signature, record.study, run.choices, *cell))
    return long


def to_long_csv(runs: Sequence[Run]) -> str:
    """long.csv: a row per run, category and metric, numbers by `repr`; every choice that any of the runs made."""
    places = {"seed", "data.category", *NO_EFFECT}  # the first two have a column of their own
    keys = sorted({key for run in runs for key in run.choices} - places)
    header = ("run", "signature", "experiment", *keys, "category", "seed", "metric", "value", "lo", "hi")
    lines = [
        (
            *(row.run, row.signature, row.experiment, *(row.choices.get(key, DEFAULT) for key in keys)),
            *(row.category, row.seed, row.metric, *map(_number, (row.value, row.lo, row.hi))),
        )
        for row in rows(runs)
    ]
    return _csv(header, lines)


def to_csv(runs: Iterable[Run], keys: Sequence[str]) -> str:
    """runs.csv, the wide table: a row per run and category, the choices `keys`, all metrics by `repr`.

    Each metric has three columns: the figure, and the ends of its 95% interval over the test images.
    """
    names = [metric.name for metric in METRICS]
    columns = [column for name in names for column in (name, f"{name}_lo", f"{name}_hi")]
    lines = []
    for run in runs:
        record = run.record
        for category in record.categories:
            result = record.results[category]
            figures = [
                _number(figure)
                for name in names
                for figure in (result.metrics.get(name), *(result.intervals.get(name) or (None, None)))
            ]
            choices = [run.choice(key) for key in keys]
            lines.append((record.signature, record.study, *choices, category, record.seed, *figures))
    return _csv(("signature", "study", *keys, "category", "seed", *columns), lines)


def _number(figure: float | None) -> str:
    return "" if figure is None else repr(figure)


def _csv(header: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(lines)
    return buffer.getvalue()
