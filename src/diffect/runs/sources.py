"""Where runs are read from: records in folders, offline W&B logs, or a W&B project."""

import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from diffect.runs import record_file, selection, table, wandb
from diffect.runs.record import Record
from diffect.runs.selection import Selection
from diffect.runs.table import LeftOut, Run

WANDB = "wandb:"
_SIGNATURE = re.compile(r"[0-9a-f]{12}")


def read(source: str, study: str | None = None, filters: Mapping[str, Any] | None = None) -> Selection:
    """The runs of `study`, or of the only one there is, in `source`; see `select` for what is left out.

    `source` is a folder of runs, or of studies with their runs; without records it is searched, at any depth,
    for offline W&B logs; or wandb:ENTITY/PROJECT, of which the server gives only the runs that match
    `filters` (see `wandb.read_project`). Raises ValueError where there is no finished run, with what there is.
    """
    if source.startswith(WANDB):
        runs, unread = wandb.read_project(source.removeprefix(WANDB), study, filters or {})
    elif filters:
        raise ValueError(f"filters= is for a W&B project, and source={source} is a folder; use experiment= or where=")
    else:
        runs, unread = _folder(Path(source).expanduser(), study)
    return selection.select(runs, unread, source, study)


def _folder(folder: Path, study: str | None) -> tuple[list[Run], list[LeftOut]]:
    if not folder.is_dir():
        raise ValueError(f"source={folder} is not a folder; it must hold runs or W&B logs, or be wandb:ENTITY/PROJECT")
    named = [folder / study] if study is not None and (folder / study).is_dir() else []
    every = [folder, *(path for path in folder.iterdir() if path.is_dir())]
    for parents in (named, every):
        if any(path.parent.name != wandb.FILES for at in parents for path in at.glob(f"*/{record_file.RECORD}")):
            return _records(folder, parents)
    return wandb.read_logs(folder)


def _records(folder: Path, parents: Sequence[Path]) -> tuple[list[Run], list[LeftOut]]:
    """The records one level below `parents`, named relative to `folder`."""
    entries = sorted(path for parent in parents for path in parent.iterdir() if path.is_dir())
    # Reports and caches may lie beside the runs; only a folder named like a run is one without a record.
    named = [path for path in entries if (path / record_file.RECORD).exists() or _SIGNATURE.fullmatch(path.name)]
    return table.gather((path, str(path.relative_to(folder)), partial(_record, path)) for path in named)


def _record(folder: Path) -> Record:
    path = folder / record_file.RECORD
    if not path.exists():
        raise ValueError("unfinished: it has no record yet")
    return record_file.read(path)
