"""Records in W&B: each run keeps record.json among its files, in an offline log and on the server alike."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from diffect.runs import record_file
from diffect.runs.record import Record
from diffect.runs.table import LeftOut, Run, gather

# Seconds for one request. Within them wandb's client repeats a request that found no network, no server or a busy one,
# after 2 s, 4 s, 8 s, five times in all.
TIMEOUT = 40
PAGE = 50  # runs a request
FILES = "files"  # the folder of a log that holds the files of its run
_NO_RECORD = "it holds no record: the run was stopped before it ended, or diffect did not make it"


def save(run: Any, record: Record) -> None:
    """Put the record among the files of the started W&B run, and send it now where the run is online."""
    path = record_file.write(Path(run.dir), record)
    run.save(str(path), base_path=run.dir, policy="now")


def read_logs(folder: Path) -> tuple[list[Run], list[LeftOut]]:
    """The records of all logs below `folder`, at any depth, and the logs without a record."""
    records = {path.parent.parent: path for path in folder.rglob(f"{FILES}/{record_file.RECORD}")}
    logs = sorted({log.parent for log in folder.rglob("*.wandb")} | records.keys())

    def read(log: Path) -> Record:
        if log not in records:
            raise ValueError(_NO_RECORD)
        return record_file.read(records[log])

    # The record's own path stands for a run's folder, which a log has not.
    return gather((records.get(log, log), str(log.relative_to(folder)), partial(read, log)) for log in logs)


def read_project(project: str, study: str | None, filters: Mapping[str, Any]) -> tuple[list[Run], list[LeftOut]]:
    """The runs of `study` in `project` (ENTITY/PROJECT), oldest first, and those without a record.

    `filters` is a further query as `wandb.Api().runs` takes it, in MongoDB's language: {"state": "finished"}.
    Raises ValueError for an unknown project or study, without an API key, or without an answer.
    """
    source = f"wandb:{project}"
    if len(parts := project.split("/")) != 2 or not all(parts):
        raise ValueError(f"source={source} names no project; write it as wandb:ENTITY/PROJECT")
    # Only here: wandb takes a second to import.
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    # Silent, it prints nothing and never asks at a terminal for a missing key.
    wandb.setup(wandb.Settings(silent=True))
    try:
        api = wandb.Api(timeout=int(os.environ.get("WANDB_HTTP_TIMEOUT", TIMEOUT)))
        query = filters if study is None else {"config.study": study, **filters}
        with _temporary_folder() as folder:
            listed = api.runs(project, dict(query), per_page=PAGE)
            runs = gather((Path(source, run.id), run.id, partial(_download, run, source, folder)) for run in listed)
            groups = set() if any(runs) else {str(run.group) for run in api.runs(project)}
    except wandb.errors.UsageError as error:
        raise ValueError(f"source={source}: W&B has no API key here: `wandb login`, or set WANDB_API_KEY") from error
    except (wandb.errors.CommError, WandbApiFailedError, ValueError) as error:
        raise ValueError(f"source={source}: {_reason(error)}") from error
    if not any(runs):
        there = f"its runs are grouped as {', '.join(sorted(groups))}" if groups else "it holds no runs"
        raise ValueError(f"source={source} has no runs with {json.dumps(query)}: {there}")
    return runs


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder for downloads; wandb makes its own folders, one for each listed run, there too."""
    before = os.environ.get("WANDB_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WANDB_DIR"] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ["WANDB_DIR"]
            else:
                os.environ["WANDB_DIR"] = before


def _download(run: Any, source: str, folder: Path) -> Record:
    for file in run.files(names=[record_file.RECORD]):
        with file.download(root=str(folder / run.id), replace=True) as text:
            return record_file.loads(text.read(), f"{source}/{run.id}")
    raise ValueError(f"{_NO_RECORD} (W&B says that it is {run.state})")


def parse_filters(text: str) -> dict[str, Any]:
    """The filters in `text`, KEY=VALUE,... or a whole query as JSON; else ValueError."""
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError as error:
            raise ValueError(f"filters={text} is not JSON: {error}") from error
    filters = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not key or not equals:
            raise ValueError(f"filters={text}: '{part}' is not KEY=VALUE, as in config.seed=0 or state=finished")
        filters[key] = _typed(value)
    return filters


def _typed(value: str) -> Any:
    """A number, true, false or null where `value` is one, since the server compares values of one type; else text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _reason(error: Exception) -> str:
    """What failed between here and W&B, and what to do, from any exception of its client."""
    import wandb

    url = wandb.setup().settings.base_url
    reason = " ".join(str(error).split())
    response = getattr(error.__cause__ or error, "response", None)
    if "Could not find project" in reason:
        return f"there is no such project at {url}, or the API key may not see it"
    if response is not None and response.http_status in (401, 403):
        return f"{url} refuses the API key ({reason}): `wandb login`, or set WANDB_API_KEY"
    if "did not respond in time" in reason or "giving up" in reason:
        return f"no answer from {url}, asked several times: is there a network? WANDB_HTTP_TIMEOUT=SECONDS waits longer"
    return reason
