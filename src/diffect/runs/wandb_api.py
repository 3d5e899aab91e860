"""The records of a W&B project, by wandb's public API."""

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from diffect.runs import wandb_files
from diffect.runs.record import Record
from diffect.runs.table import LeftOut, Run

# Seconds for one request. Within them wandb's client itself repeats one that found no network, no server or a busy
# one, 2 s later, then 4, then 8: five times in all.
TIMEOUT = 40
PAGE = 10  # runs a request; the replicates make a record about 0.2 MB for each of its categories
SUMMARY_FILE = "wandb-summary.json"


def read(project: str, study: str | None, filters: Mapping[str, Any]) -> tuple[list[Run], list[LeftOut]]:
    """The runs of `study` in `project` (ENTITY/PROJECT), oldest first, and those without a whole record.

    `filters` is a further query as `wandb.Api().runs` takes it, in MongoDB's language: {"state": "finished"}.
    Raises ValueError for a project or a study that there is not, without an API key, or without an answer.
    """
    source = f"wandb:{project}"
    if len(parts := project.split("/")) != 2 or not all(parts):
        raise ValueError(f"source={source} names no project; write it as wandb:ENTITY/PROJECT")
    # Only here: wandb takes a second to import.
    import wandb
    from wandb.sdk.lib.service.service_connection import WandbApiFailedError

    # Silent, it says nothing of its own, and never asks at a terminal for a key that it does not find.
    wandb.setup(wandb.Settings(silent=True))
    try:
        api = wandb.Api(timeout=int(os.environ.get("WANDB_HTTP_TIMEOUT", TIMEOUT)))
        asked = filters if study is None else {"config.study": study, **filters}
        with _no_folders():
            found = _found(api.runs(project, dict(asked), per_page=PAGE, lazy=False), source)
            groups = set() if any(found) else {str(run.group) for run in api.runs(project, lazy=True)}
    except wandb.errors.UsageError as error:
        raise ValueError(f"source={source}: W&B has no API key here: `wandb login`, or set WANDB_API_KEY") from error
    except (wandb.errors.CommError, WandbApiFailedError, ValueError) as error:
        raise ValueError(f"source={source}: {_told(error)}") from error
    if not any(found):
        there = f"its runs are grouped as {', '.join(sorted(groups))}" if groups else "it holds no runs"
        raise ValueError(f"source={source} has no runs with {json.dumps(asked)}: {there}")
    return found


@contextmanager
def _no_folders() -> Iterator[None]:
    """While it lasts wandb makes its folders, an empty one for each run it lists, where they are removed with it."""
    before = os.environ.get("WANDB_DIR")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WANDB_DIR"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["WANDB_DIR"]
            else:
                os.environ["WANDB_DIR"] = before


def _found(listed: Iterable[Any], source: str) -> tuple[list[Run], list[LeftOut]]:
    """Of wandb's runs those that hold a record, and the others."""
    runs: list[Run] = []
    unread: list[LeftOut] = []
    for run in listed:
        place = Path(source, run.id)
        try:
            runs.append(Run(place, _record(run, str(place))))
        except ValueError as error:
            reason = str(error).replace(str(place), "it")
            unread.append(LeftOut(run.id, f"{reason} (W&B says that it is {run.state})"))
    return runs, unread


def query(text: str) -> dict[str, Any]:
    """The filters that `text` says, KEY=VALUE,... or a whole query as JSON; else ValueError."""
    if text.lstrip().startswith("{"):
        try:
            return dict(json.loads(text))
        except ValueError as error:
            raise ValueError(f"filters={text} is no JSON: {error}") from error
    found = {}
    for part in text.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if not key or not equals:
            raise ValueError(f"filters={text}: '{part}' is no KEY=VALUE, as in config.seed=0 or state=finished")
        found[key] = _plain(value)
    return found


def _plain(value: str) -> Any:
    """A number, true, false or null as what it is, for the server compares values of one type; else the text."""
    try:
        return json.loads(value)
    except ValueError:
        return value


def _record(run: Any, where: str) -> Record:
    """The record in the summary of wandb's `run`, or in its summary file, which is whole where the summary is not."""
    summary = run.summary_metrics
    try:
        return wandb_files.from_summary(summary, where)
    except ValueError:
        if "record" not in summary:
            raise
    # W&B may keep less of a large summary in its tables than it got; the record's hash tells.
    with tempfile.TemporaryDirectory() as folder:
        for file in run.files(names=[SUMMARY_FILE]):
            with file.download(root=folder, replace=True) as text:
                summary = json.load(text)
    return wandb_files.from_summary(summary, where)


def _told(error: Exception) -> str:
    """What went wrong between here and W&B, and what to do, from any of its client's exceptions."""
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
