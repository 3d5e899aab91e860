"""Where runs are read from, records in folders, offline W&B logs, or a W&B project: the same runs from each."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffect.runs import record_file, selection, wandb_api, wandb_files
from diffect.runs.selection import Selection
from diffect.runs.table import LeftOut, Run

WANDB = "wandb:"
LOG = "*.wandb"
_SIGNATURE = re.compile(r"[0-9a-f]{12}")

Read = tuple[list[Run], list[LeftOut]]  # runs of any status, and what was no readable run


def read(source: str, study: str | None = None, filters: Mapping[str, Any] | None = None) -> Selection:
    """The runs of `study`, or of the only one there is, in `source`; see `select` for what is left out.

    `source` is a folder of runs, or of studies with their runs; without records it is searched, at any depth,
    for offline W&B logs; or wandb:ENTITY/PROJECT, of which the server gives only the runs that match
    `filters` (see `wandb_api.read`). Raises ValueError where there is no finished run, with what there is.
    """
    if source.startswith(WANDB):
        found, unread = wandb_api.read(source.removeprefix(WANDB), study, filters or {})
    elif filters:
        raise ValueError(f"filters= asks a W&B project, and source={source} is a folder; use experiment=NAME there")
    else:
        found, unread = _folder(Path(source).expanduser(), study)
    return selection.select(found, unread, source, study)


def _folder(folder: Path, study: str | None) -> Read:
    if not folder.is_dir():
        raise ValueError(f"source={folder} is no folder; it is one of runs or W&B logs, or wandb:ENTITY/PROJECT")
    own = [folder / study] if study is not None and (folder / study).is_dir() else []
    every = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    for places in (own, every):
        if any(next(place.glob(f"*/{record_file.RECORD}"), None) for place in places):
            return _records(folder, places)
    return _logs(folder)


def _records(folder: Path, places: Sequence[Path]) -> Read:
    """The records one level below `places`, named relative to `folder`."""
    runs: list[Run] = []
    unread: list[LeftOut] = []
    for entry in sorted(path for place in places for path in place.iterdir() if path.is_dir()):
        path = entry / record_file.RECORD
        if not path.exists():
            # Reports and caches may lie beside the runs; only a folder named like a run is one without a record.
            if _SIGNATURE.fullmatch(entry.name):
                unread.append(LeftOut(str(entry.relative_to(folder)), "unfinished: it has no record yet"))
            continue
        try:
            runs.append(Run(entry, record_file.read(path)))
        except ValueError as error:
            unread.append(LeftOut(str(entry.relative_to(folder)), str(error)))
    return runs, unread


def _logs(folder: Path) -> Read:
    """The last whole record of each W&B log below `folder`."""
    runs: list[Run] = []
    unread: list[LeftOut] = []
    for path in sorted(folder.rglob(LOG)):
        try:
            runs.append(Run(path, wandb_files.read(path)))
        except ValueError as error:
            unread.append(LeftOut(str(path.relative_to(folder)), str(error).replace(str(path), "it")))
    return runs, unread
