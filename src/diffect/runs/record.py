"""The record of one run: what it holds, how it is written and read back, and its per-image scores as CSV."""

import csv
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from diffect.storage.atomic import write_atomic

FORMAT = 1
RECORD = "record.json"
SCORES = "scores.csv"
PANEL = "panel.png"
GALLERY = "gallery"  # a folder
STATUSES = ("running", "finished", "failed", "interrupted")

# Order of the keys in the file: what a reader looks for first, and the bulk last.
_KEYS = (
    "format",
    "status",
    "error",
    "signature",
    "study",
    "seed",
    "choices",
    "categories",
    "metrics",
    "intervals",
    "undefined",
    "levels",
    "training",
    "audit",
    "splits",
    "protocol",
    "test_reads",
    "seconds",
    "versions",
    "device",
    "commit",
    "wandb",
    "created",
    "config",
    "gallery",
    "schedule",
    "scores",
    "replicates",
)

_ROUNDING = 1e-9  # by how much sums of floats may leave a metric's range

Record = dict[str, Any]


@dataclass(frozen=True)
class Metric:
    """One figure of merit: its name in records, its title in tables, and which end is good (or None)."""

    name: str
    title: str
    higher_is_better: bool | None


# In table order. The conformal pair has no good end by itself: the FPR should equal the promised rate, not
# lie far below it, and a TPR is worth something only at a kept promise.
METRICS = (
    Metric("image_auroc", "image AUROC", True),
    Metric("image_ap", "image AP", True),
    Metric("image_f1_max", "image F1-max", True),
    Metric("image_tpr_at_5fpr", "TPR at 5% FPR", True),
    Metric("pixel_auroc", "pixel AUROC", True),
    Metric("pixel_ap", "pixel AP", True),
    Metric("pixel_f1_max", "pixel F1-max", True),
    Metric("pixel_aupro_30", "AUPRO 30%", True),
    Metric("pixel_aupro_5", "AUPRO 5%", True),
    Metric("pixel_peak_hit", "peak hit", True),
    Metric("conformal_fpr", "conformal FPR", None),
    Metric("conformal_tpr", "conformal TPR", None),
    Metric("latency_ms", "latency ms", False),
)


def write(folder: Path, record: Record) -> Path:
    """Write `folder`/record.json, whole or not at all, and return its path.

    The text is strict JSON: NaN and infinities become null, floats are written by `repr`, keys in a fixed
    order, so equal records are equal bytes. Raises ValueError where the record breaks the schema or the
    folder cannot be written.
    """
    path = Path(folder) / RECORD
    text = dumps(record, str(path))
    write_atomic(path, text)
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


def finished(folder: Path, signature: str) -> Record | None:
    """The record of the finished run `signature` in `folder`, or None where that run is still to be done.

    Raises ValueError where the record is corrupt, or is another run's finished work: never overwritten.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        return None
    record = read(path)
    if record["status"] != "finished":
        return None
    if record["signature"] != signature:
        raise ValueError(
            f"{path} is the finished run {record['signature']}, not {signature}: set hydra.run.dir to another"
            " folder (the default names it by the run), or delete that one"
        )
    return record


def broken_promise(record: Record, category: str) -> str:
    """A sentence where the run's own test denies the rate of false positives that its threshold promises; else ""."""
    rate = record["config"]["evaluation"]["conformal_rate"]
    interval = record["intervals"][category].get("conformal_fpr")
    if not interval or interval[0] <= rate:
        return ""
    return (
        f"the promised false-positive rate of {rate:g} was not kept in the run's own test, where it was between "
        f"{interval[0]:.2g} and {interval[1]:.2g}: good test images are unlike the held-out ones that set the "
        "threshold"
    )


def test_reads(folder: Path, fingerprint: str) -> int:
    """How many finished runs beside the run in `folder`, of its study, have read the test set of this fingerprint."""
    told = (path.read_bytes() for path in folder.parent.glob(f"*/{RECORD}") if path.parent != folder)
    # Searched, not parsed: a study's records hold many replicates, and a fingerprint stands in one place only.
    return sum(b'"status": "finished"' in text and fingerprint.encode() in text for text in told)


def write_scores(folder: Path, record: Record) -> Path:
    """Write `folder`/scores.csv: one row per test image, ordered by category and name, scores by `repr`."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("name", "category", "defect", "anomalous", "score"))
    for category, rows in sorted(record.get("scores", {}).items()):
        for row in sorted(rows, key=lambda row: str(row["name"])):
            score = _plain(row["score"], f"scores.{category}")
            text = "" if score is None else repr(score)
            anomalous = "true" if row["anomalous"] else "false"
            writer.writerow((row["name"], category, row["defect"], anomalous, text))
    path = Path(folder) / SCORES
    write_atomic(path, buffer.getvalue())
    return path


def dumps(record: Record, where: str = "the record") -> str:
    """The record as canonical JSON text; dictionaries are indented, lists of numbers stay on one line."""
    plain = _plain(record, "")
    _check(plain, where)
    known = {key: plain[key] for key in _KEYS if key in plain}
    rest = {key: plain[key] for key in sorted(plain) if key not in known}
    lines = ",\n".join(f" {json.dumps(key)}: {_pretty(value, 1)}" for key, value in {**known, **rest}.items())
    return "{\n" + lines + "\n}\n"


def loads(text: str, where: str = "the record") -> Record:
    """The record in the JSON `text`; ValueError naming `where` for text that is no record of this format."""
    try:
        record = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the record {where} is corrupt: {error}") from error
    _check(record, where)
    return record  # type: ignore[no-any-return]


def _refuse_constant(name: str) -> None:
    raise ValueError(f"it holds {name}, which is no JSON number")


def _pretty(value: Any, depth: int) -> str:
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    nested = any(isinstance(item, (dict, list)) for item in items)
    if not value or (isinstance(value, list) and not nested):
        return json.dumps(value, allow_nan=False, sort_keys=True)
    pad = "\n" + " " * (depth + 1)
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_pretty(value[key], depth + 1)}" for key in sorted(value)]
        return "{" + pad + ("," + pad).join(parts) + pad[:-1] + "}"
    if isinstance(value, list):  # one row of a table per line: scores, losses
        rows = [json.dumps(row, allow_nan=False, sort_keys=True) for row in value]
        return "[" + pad + ("," + pad).join(rows) + pad[:-1] + "]"
    return json.dumps(value, allow_nan=False)


def _plain(value: Any, where: str) -> Any:
    """`value` in JSON's own types: numpy numbers and arrays made plain, what is not finite made None."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise ValueError(f"the record's key {key!r} in '{where}' is no string")
        return {str(key): _plain(item, f"{where}.{key}" if where else key) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, where) for item in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist(), where)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Path):
        return str(value)
    raise ValueError(f"the record's '{where}' is a {type(value).__name__}: only JSON's types can be written")


def _check(record: Any, where: str) -> None:
    """Raise ValueError, naming `where` and the key, unless `record` has the shape that readers count on."""
    if not isinstance(record, dict):
        raise ValueError(f"{where} holds no record: expected a JSON object, found a {type(record).__name__}")
    if record.get("format") != FORMAT:
        raise ValueError(f"{where} has format {record.get('format')!r}: this version reads format {FORMAT}")
    if record.get("status") not in STATUSES:
        raise ValueError(f"{where} has status {record.get('status')!r}: allowed are {', '.join(STATUSES)}")
    kinds: dict[str, type] = {"signature": str, "study": str}
    if record["status"] == "finished":  # a failed run may have ended before the rest was known
        kinds |= {"seed": int, "choices": dict, "categories": list, "metrics": dict}
    for key in ("config", "intervals", "replicates", "scores", "training", "schedule", "audit", "gallery"):
        if record.get(key) is not None:
            kinds[key] = dict
    for key, kind in kinds.items():
        if not isinstance(record.get(key), kind):
            found = type(record[key]).__name__ if key in record else "nothing"
            raise ValueError(f"{where} is no whole record: '{key}' should be a {kind.__name__}, found {found}")
    for category, values in (record.get("metrics") or {}).items():
        good = isinstance(values, dict) and all(
            value is None or (isinstance(value, (int, float)) and not isinstance(value, bool))
            for value in values.values()
        )
        if not good:
            raise ValueError(f"{where}: metrics.{category} should map names to numbers or null")
        for metric in METRICS:
            _check_range(values.get(metric.name), metric.name, f"{where} is corrupt: metrics.{category}.{metric.name}")


def _check_range(value: float | None, metric: str, what: str) -> None:
    """Raise ValueError, beginning with `what`, for a figure that no run can have; what is not finite is none."""
    most = math.inf if metric == "latency_ms" else 1.0
    if value is not None and math.isfinite(value) and not -_ROUNDING <= value <= most + _ROUNDING:
        allowed = "is at least 0" if metric == "latency_ms" else "lies from 0 to 1"
        raise ValueError(f"{what} is {value:g}, but such a figure {allowed}")
