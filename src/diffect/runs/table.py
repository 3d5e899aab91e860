"""From a folder of records to one long table, and to CSV; what is left out is named, with the reason."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from diffect.runs import record as records
from diffect.runs.signature import IRRELEVANT

_SIGNATURE = re.compile(r"[0-9a-f]{12}")


DEFAULT = "default"  # what stands for a choice in a run that did not make it


@dataclass(frozen=True)
class Run:
    """A record and the folder that it came from."""

    folder: Path
    record: records.Record = field(repr=False)

    @cached_property
    def choices(self) -> dict[str, str]:
        """The choices that can change a number, and where the data came from."""
        kept = [key for key in self.record["choices"] if key not in IRRELEVANT or key.startswith("data.")]
        return {key: str(self.record["choices"][key]) for key in kept}

    def choice(self, key: str) -> str:
        """The run's place on the axis `key`; for the category: if it was trained alone or with others."""
        if key != "data.category":
            return self.choices.get(key, DEFAULT)
        names = self.unit[0]
        return "alone" if len(names) == 1 else f"{len(names)} together: {'+'.join(names)}"

    @property
    def unit(self) -> tuple[tuple[str, ...], int]:
        """What the run is a run of: its categories and its seed."""
        return tuple(str(category) for category in self.record["categories"]), int(self.record["seed"])


@dataclass(frozen=True)
class LeftOut:
    """A folder that is not in the table, and why, in one clause."""

    name: str
    reason: str


@dataclass(frozen=True)
class Row:
    """One figure of one run on one category."""

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


def load(folder: Path, study: str | None = None) -> tuple[list[Run], list[LeftOut]]:
    """The finished runs in `folder`/*/record.json by choices and seed, and what was left out and why.

    With `study`, records of another study are left out. Of several runs with one signature, or with the
    same choices, categories and seed, the last created one stays. Raises ValueError where `folder` is no
    folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder")
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    for entry in sorted(path for path in folder.iterdir() if path.is_dir()):
        if not (entry / records.RECORD).exists():
            # Reports and caches may lie beside the runs; only a folder named like a run is one without a
            # record.
            if _SIGNATURE.fullmatch(entry.name):
                left_out.append(LeftOut(entry.name, "unfinished: it has no record yet"))
            continue
        try:
            record = records.read(entry / records.RECORD)
        except ValueError as error:
            left_out.append(LeftOut(entry.name, f"corrupt: {error}"))
            continue
        reason = _unfit(record, study)
        if reason is None:
            runs.append(Run(entry, record))
        else:
            left_out.append(LeftOut(entry.name, reason))
    kept, doubles = _settle(runs)
    return kept, sorted([*left_out, *doubles], key=lambda item: item.name)


def _unfit(record: records.Record, study: str | None) -> str | None:
    if record["status"] == "failed":
        return f"failed: {_line(record.get('error')) or 'it says not why'}"
    if record["status"] != "finished":
        return f"unfinished: its status is {record['status']}"
    if study is not None and record["study"] != study:
        return f"of another study: {_line(record['study'])}"
    return None


def _line(text: Any, limit: int = 160) -> str:
    line = " ".join(str(text or "").split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _settle(runs: Iterable[Run]) -> tuple[list[Run], list[LeftOut]]:
    """One run per signature and per cell of the grid; a second would count as another seed."""
    newest = sorted(runs, key=lambda run: (str(run.record.get("created") or ""), run.folder.name), reverse=True)
    kept: list[Run] = []
    left_out: list[LeftOut] = []
    by_signature: dict[str, Run] = {}
    by_cell: dict[Any, Run] = {}
    for run in newest:
        cell = (tuple(sorted(run.choices.items())), run.unit)
        if (twin := by_signature.get(run.record["signature"])) is not None:
            left_out.append(LeftOut(run.folder.name, f"duplicate: {twin.folder.name} has the same signature"))
        elif (twin := by_cell.get(cell)) is not None:
            what = _difference(run.record, twin.record)
            reason = f"superseded: {twin.folder.name} has the same choices and seed and is newer ({what})"
            left_out.append(LeftOut(run.folder.name, reason))
        else:
            by_signature[run.record["signature"]] = by_cell[cell] = run
            kept.append(run)
    return sorted(kept, key=_order), left_out


def _order(run: Run) -> tuple[Any, ...]:
    return (
        sorted(run.choices.items()),
        run.record["categories"],
        run.record["seed"],
        run.record["signature"],
    )


def _difference(old: records.Record, new: records.Record) -> str:
    """What two records of one cell differ in: up to three keys of config and versions."""
    a = _flat({"config": old.get("config"), "versions": old.get("versions"), "device": old.get("device")})
    b = _flat({"config": new.get("config"), "versions": new.get("versions"), "device": new.get("device")})
    keys = [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
    if not keys:
        return "their data or code differ"
    names = [key.removeprefix("config.") for key in keys[:3]]
    return "they differ in " + ", ".join(names) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _flat(value: Any, where: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {where: value}
    flat: dict[str, Any] = {}
    for key, item in value.items():
        flat |= _flat(item, f"{where}.{key}" if where else str(key))
    return flat


def rows(runs: Iterable[Run]) -> list[Row]:
    """The long table: one row per run, category and metric, in table order of the metrics, then by name."""
    order = {metric.name: place for place, metric in enumerate(records.METRICS)}
    long: list[Row] = []
    for run in runs:
        record = run.record
        for category in record["categories"]:
            values = record["metrics"].get(category, {})
            intervals = (record.get("intervals") or {}).get(category, {})
            for metric in sorted(values, key=lambda name: (order.get(name, len(order)), name)):
                lo, hi = intervals.get(metric) or (None, None)
                cell = (str(category), int(record["seed"]), metric, values[metric], lo, hi)
                long.append(Row(run.folder.name, record["signature"], record["study"], run.choices, *cell))
    return long


def to_csv(runs: Iterable[Run], keys: Sequence[str]) -> str:
    """The wide table as CSV: a row per run and category, the choices `keys`, all metrics by `repr`.

    Each metric has three columns: the figure, and the ends of its 95% interval over the test images.
    """
    names = [metric.name for metric in records.METRICS]
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    columns = [column for name in names for column in (name, f"{name}_lo", f"{name}_hi")]
    writer.writerow(("signature", "study", *keys, "category", "seed", *columns))
    for run in runs:
        record = run.record
        for category in record["categories"]:
            values = record["metrics"].get(category, {})
            intervals = (record.get("intervals") or {}).get(category, {})
            figures = [
                "" if figure is None else repr(figure)
                for name in names
                for figure in (values.get(name), *(intervals.get(name) or (None, None)))
            ]
            choices = [run.choice(key) for key in keys]
            row = (record["signature"], record["study"], *choices, category, record["seed"], *figures)
            writer.writerow(row)
    return buffer.getvalue()
