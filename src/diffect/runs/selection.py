"""Choose the runs of one study from all that a source holds; the others are named, with the reason."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from diffect.config.files import command_for
from diffect.errors import suggest
from diffect.runs.record import Record
from diffect.runs.table import LeftOut, Run


@dataclass(frozen=True)
class Selection:
    """The runs of one study, in one order, and what is not among them.

    `left_out` are runs of the study, the same for every source. `ignored` is what else this source holds: files that
    are no run, copies, earlier attempts, other studies.
    """

    study: str
    runs: tuple[Run, ...]
    left_out: tuple[LeftOut, ...]
    ignored: tuple[LeftOut, ...]


def select(runs: Iterable[Run], unread: Sequence[LeftOut], where: str, study: str | None = None) -> Selection:
    """The finished runs of `study` among those `runs` in `where`, of the newest version, one per cell.

    `study` may be left out where all are of one. Raises ValueError where there are several, or no finished
    run, saying what there is.
    """
    everything = list(runs)
    name = _study(everything, unread, where, study)
    mine, ignored = _attempts([run for run in everything if run.record.study == name])
    ignored += [*unread, *_others(everything, name)]
    finished = [run for run in mine if run.record.status == "finished"]
    # Of a run that was killed a folder has a record and a log has none, so it belongs to what the source holds.
    ignored += [_unfinished(run) for run in mine if run.record.status == "running"]
    left_out = [_unfinished(run) for run in mine if run.record.status in ("failed", "interrupted")]
    if not finished:
        first = (left_out or ignored)[0]
        raise ValueError(
            f"none of the {len(mine) + len(unread)} runs of '{name}' in {where} is finished; the first,"
            f" {first.name}, is {first.reason}; to go on, start the same `diffect train` command again"
        )
    current, older = _newest_version(finished)
    kept, doubles = _one_per_cell(current)
    left_out += [*older, *doubles]
    return Selection(name, tuple(sorted(kept, key=_order)), _by_name(left_out), _by_name(ignored))


def matching(selection: Selection, condition: str) -> Selection:
    """The selection with those of its runs alone that have every value of `condition`, "KEY=VALUE and KEY=VALUE".

    A key is that of a choice or of the config. Raises ValueError for a key that no run has, with the nearest, and
    where no run is left, with the values that there are.
    """
    runs = selection.runs
    for part in re.split(r"\s+and\s+", condition.strip()):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not (key and equals and value) or value.startswith("="):
            raise ValueError(f"where={condition}: '{part}' is not KEY=VALUE, as in seed=0 and denoiser=conv")
        settings = [_settings(run) for run in runs]
        values = sorted({known[key] for known in settings if key in known})
        if not values:
            keys = {name for known in settings for name in known}
            raise ValueError(f"where={condition}: no run has a key {key}{suggest(key, sorted(keys))}")
        runs = tuple(run for run, known in zip(runs, settings, strict=True) if known.get(key) == value)
        if not runs:
            raise ValueError(f"where={condition}: no run has {key}={value}; the values are {', '.join(values)}")
    others = LeftOut(f"{len(selection.runs) - len(runs)} of {len(selection.runs)} runs", f"not where {condition}")
    return replace(selection, runs=runs, ignored=(*selection.ignored, others))


def _settings(run: Run) -> dict[str, str]:
    """The run's config and choices by dotted key, values as the command line writes them."""
    config = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in flat(run.record.config).items()
    }
    return {**config, **run.record.choices}


def _study(runs: Sequence[Run], unread: Sequence[LeftOut], where: str, study: str | None) -> str:
    """The study to report: `study` if it is there, or else the only one."""
    counts = Counter(run.record.study for run in runs)
    there = ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()))
    again = "" if study is None else f"; `{command_for(study)}` makes them"
    if study in counts:
        return str(study)
    if unread and not counts:
        first = f"the first, {unread[0].name}: {unread[0].reason}"
        raise ValueError(f"there are no runs in {where}: {len(unread)} could not be read, {first}")
    if not counts:
        raise ValueError(f"there are no runs in {where}{again}")
    if study is not None:
        guess = suggest(study, counts) or f"; there are runs of {there}"
        raise ValueError(f"there are no runs of '{study}' in {where}{guess}{again}")
    if len(counts) > 1:
        raise ValueError(f"{where} holds runs of {len(counts)} studies: {there}; choose one, experiment=NAME")
    return next(iter(counts))


def _others(runs: Sequence[Run], name: str) -> list[LeftOut]:
    counts = Counter(run.record.study for run in runs if run.record.study != name)
    return [LeftOut(_line(other), f"another study, of {count} logged") for other, count in sorted(counts.items())]


def _attempts(runs: Sequence[Run]) -> tuple[list[Run], list[LeftOut]]:
    """Of each signature the finished run, or else the last attempt; the others, which are no runs of their own."""

    def weight(run: Run) -> tuple[bool, str, str]:
        return run.record.status == "finished", run.record.provenance.created, str(run.folder)

    kept: dict[str, Run] = {}
    ignored = []
    for run in sorted(runs, key=weight, reverse=True):
        twin = kept.setdefault(run.record.signature, run)
        if twin is run:
            continue
        reason = f"an earlier attempt at {twin.record.signature}"
        if run.record.status == "finished":
            same = "the same" if _metrics(run) == _metrics(twin) else "other"
            reason = f"duplicate: {twin.folder} is the same run, {twin.record.signature}, with {same} figures"
        ignored.append(LeftOut(str(run.folder), reason))
    return list(kept.values()), ignored


def _metrics(run: Run) -> dict[str, dict[str, float | None]]:
    return {category: result.metrics for category, result in run.record.results.items()}


def _unfinished(run: Run) -> LeftOut:
    status, signature = run.record.status, run.record.signature
    if status == "failed":
        return LeftOut(signature, f"failed: {_line(run.record.error) or 'it does not say why'}")
    return LeftOut(signature, f"unfinished: its status is {status}")


def _newest_version(runs: Sequence[Run]) -> tuple[list[Run], list[LeftOut]]:
    """The runs of the newest version of diffect, for a table of two would compare versions; and the others."""
    newest = max(map(_version, runs), key=_release)
    others = [run for run in runs if _version(run) != newest]
    reason = f"made by diffect {{}}; the newest runs here are of {newest}, and one table holds one version"
    left_out = [LeftOut(run.record.signature, reason.format(_version(run))) for run in others]
    return [run for run in runs if _version(run) == newest], left_out


def _version(run: Run) -> str:
    return run.record.provenance.versions.get("diffect", "of no known version")


def _release(version: str) -> tuple[list[int], bool, str]:
    """A sort key for versions: 0.9 < 0.10.dev1 < 0.10."""
    digits = re.match(r"\d+(\.\d+)*", version)
    suffix = version[digits.end() :] if digits else version
    return [int(part) for part in digits[0].split(".")] if digits else [], not suffix, suffix


def _one_per_cell(runs: Sequence[Run]) -> tuple[list[Run], list[LeftOut]]:
    """One run for the same choices, categories and seed, the newest: a second would count as another seed."""
    newest = sorted(runs, key=lambda run: (run.record.provenance.created, run.record.signature), reverse=True)
    kept: dict[Any, Run] = {}
    left_out = []
    for run in newest:
        twin = kept.setdefault((tuple(sorted(run.choices.items())), run.unit), run)
        if twin is not run:
            newer, what = twin.record.signature, _difference(run.record, twin.record)
            reason = f"superseded: {newer} has the same choices and seed and is newer ({what})"
            left_out.append(LeftOut(run.record.signature, reason))
    return list(kept.values()), left_out


def _order(run: Run) -> tuple[Any, ...]:
    return sorted(run.choices.items()), run.record.categories, run.record.seed, run.record.signature


def _by_name(items: Iterable[LeftOut]) -> tuple[LeftOut, ...]:
    return tuple(sorted(items, key=lambda item: (item.name, item.reason)))


def _difference(old: Record, new: Record) -> str:
    """What two records of one cell differ in: up to three keys of config and versions."""
    a, b = ({**flat(one.config, "config"), **flat(_made_by(one))} for one in (old, new))
    keys = [key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)]
    if not keys:
        return "their data or code differ"
    names = [key.removeprefix("config.") for key in keys[:3]]
    return "they differ in " + ", ".join(names) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")


def _made_by(record: Record) -> dict[str, Any]:
    return {"versions": record.provenance.versions, "device": record.provenance.device}


def flat(value: Any, where: str = "") -> dict[str, Any]:
    """The leaves of nested dictionaries by dotted key."""
    if not isinstance(value, dict):
        return {where: value}
    leaves: dict[str, Any] = {}
    for key, item in value.items():
        leaves |= flat(item, f"{where}.{key}" if where else str(key))
    return leaves


def _line(text: Any, limit: int = 160) -> str:
    line = " ".join(str(text or "").split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
