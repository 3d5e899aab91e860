"""How a record is written, read and checked: strict JSON, canonical bytes, one format."""

import json
import math
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from diffect.runs.record import FORMAT, Record
from diffect.storage.atomic import write_atomic, write_csv

RECORD = "record.json"
SCORES = "scores.csv"
PANEL = "panel.png"
GALLERY = "gallery"  # a folder
CHECKPOINT = "checkpoint.pt"
RESUME = "resume"  # a folder: what an interrupted run goes on from
OUTPUTS = (SCORES, PANEL, GALLERY, CHECKPOINT, RESUME)  # written after the record
_HEADER = 2048  # bytes that hold all keys up to `fingerprint`


def write(folder: Path, record: Record) -> Path:
    """Write `folder`/record.json, whole or not at all, and return its path; ValueError where that fails."""
    path = Path(folder) / RECORD
    write_atomic(path, dumps(record, str(path)))
    return path


def read(path: Path) -> Record:
    """Read the record in the file `path`; ValueError naming the path where there is none or it is corrupt."""
    try:
        text = Path(path).read_bytes().decode("utf-8")
    except OSError as error:
        raise ValueError(f"cannot read the record {path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"the record {path} is corrupt: it is not UTF-8 text") from error
    return loads(text, str(path))


def finished_run(key: str, given: object) -> tuple[Path, Record]:
    """The folder and the record of the finished run that a setting names.

    Args:
        key: the setting's name, for errors.
        given: its value, the path of the run's folder.

    Raises:
        ValueError: it is not the folder of a finished run.
    """
    found, cure = f"{key} is {given!s}, which", "it must be the folder of a finished run, outputs/STUDY/SIGNATURE"
    folder = Path(str(given)).expanduser()
    if not isinstance(given, str | Path) or not folder.is_dir():
        raise ValueError(f"{found} is not a folder; {cure}")
    if not (folder / RECORD).is_file():
        runs = sorted(path.parent for path in folder.glob(f"*/{RECORD}"))
        raise ValueError(f"{found} has no {RECORD}; {cure}" + (f", such as {runs[0]}" if runs else ""))
    record = read(folder / RECORD)
    if record.status != "finished":
        raise ValueError(f"{found} is a run that is {record.status}; {cure}: start the same command again")
    return folder, record


def finished(folder: Path, signature: str) -> Record | None:
    """The record of the finished run `signature` in `folder`, or None where that run is still to be done.

    Raises ValueError where the record cannot be read or belongs to another finished run, and where there are files of
    these names without a record: none of them is overwritten.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        if others := [name for name in OUTPUTS if (folder / name).exists()]:
            raise ValueError(
                f"the run's folder {folder} holds {others[0]} but no {RECORD}, so diffect did not write it: set "
                "hydra.run.dir to a new or an empty folder"
            )
        return None
    record = read(path)
    if record.status != "finished":
        return None
    if record.signature != signature:
        raise ValueError(
            f"{path} is the finished run {record.signature}, not {signature}: set hydra.run.dir to another folder "
            "(the default names it by the run), or delete that one"
        )
    return record


def test_reads(folder: Path, fingerprint: str) -> int:
    """How many finished runs in the folders beside `folder` have read the test set of the data `fingerprint`."""
    count = 0
    for path in folder.parent.glob(f"*/{RECORD}"):
        if path.parent != folder:
            with path.open("rb") as file:
                header = file.read(_HEADER).decode(errors="replace")
            count += '"status": "finished"' in header and f'"fingerprint": "{fingerprint}"' in header
    return count


def write_scores(folder: Path, record: Record) -> None:
    """Write `folder`/scores.csv: one row per test image, ordered by category and name, scores by `repr`."""
    rows = [
        (
            *(row.name, category, row.defect, str(row.anomalous).lower(), repr(row.score)),
            "" if row.p_value is None else f"{row.p_value:.6g}",
        )
        for category, result in sorted(record.results.items())
        for row in sorted(result.scores, key=lambda row: row.name)
    ]
    write_csv(folder / SCORES, [("name", "category", "defect", "anomalous", "score", "p_value"), *rows])


def dumps(record: Record, where: str = "the record") -> str:
    """The record as canonical JSON: equal records are equal bytes; what is not finite is null.

    Objects are indented, lists of numbers stay on one line, and a table has one row a line.
    """
    plain = _plain(record, "")
    parse(plain, where)
    return pretty(plain) + "\n"


def loads(text: str, where: str = "the record") -> Record:
    """The record in the JSON `text`; ValueError naming `where` for text that is no record of this format."""
    try:
        content = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the record {where} is corrupt: {error}") from error
    return parse(content, where)


def parse(content: Any, where: str = "the record") -> Record:
    """The record in JSON's own types; ValueError naming `where` and the key of the first value that is wrong."""
    if not isinstance(content, dict):
        raise ValueError(f"{where} holds no record: expected a JSON object, found a {type(content).__name__}")
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{where} has format {content.get('format')!r}, of another version of diffect, and this one reads format "
            f"{FORMAT}: repeat the run by its `diffect train` command, in another folder or after deleting this one"
        )
    try:
        return Record.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        reason = re.sub(r"^Value error, ", "", first["msg"])
        key = "".join(f"{part}." for part in first["loc"])[:-1]
        raise ValueError(f"{where} is corrupt: {key}{': ' if key else ''}{reason}") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is not a JSON number")


def _plain(value: Any, where: str) -> Any:
    """`value` in JSON's own types; the keys of a part in its order, other keys sorted."""
    match value:
        case BaseModel():
            names = type(value).model_fields
            return {name: _plain(getattr(value, name), f"{where}.{name}".lstrip(".")) for name in names}
        case dict():
            if strange := [key for key in value if not isinstance(key, str)]:
                raise ValueError(f"the record's key {strange[0]!r} in '{where}' is not text")
            return {key: _plain(value[key], f"{where}.{key}") for key in sorted(value)}
        case list() | tuple():
            return [_plain(item, where) for item in value]
        case None | bool() | str() | int():
            return value
        case float():
            return value if math.isfinite(value) else None
    raise ValueError(f"the record's '{where}' is a {type(value).__name__}: only JSON's types can be written")


def pretty(value: Any, depth: int = 0) -> str:
    """JSON with objects indented, lists of numbers on one line, and a line for each row of a table."""
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    nested = any(isinstance(item, (dict, list)) for item in items)
    pad = "\n" + " " * (depth + 1)
    if isinstance(value, dict) and value:
        parts = [f"{json.dumps(key)}: {pretty(item, depth + 1)}" for key, item in value.items()]
        return "{" + pad + ("," + pad).join(parts) + pad[:-1] + "}"
    if nested:
        return "[" + pad + ("," + pad).join(map(json.dumps, value)) + pad[:-1] + "]"
    return json.dumps(value)
