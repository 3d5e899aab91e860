"""The record inside W&B: as summary entries on the way in, out of an offline `.wandb` log on the way back.

An offline run has no summary file; its append-only log is the only source. The log is a 7-byte header, then
LevelDB's log format: blocks of 32 KiB, cut into frames of (crc32 of type and data, length, type) and data,
whose concatenation is one protobuf message `wandb_internal_pb2.Record`. Source: LevelDB, doc/log_format.md,
with zlib's crc32 in place of LevelDB's own checksum.
"""

import hashlib
import json
import re
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffect.runs import record_file
from diffect.runs.record import Record

_HEADER = b":W&B\xe1\xbe\x00"  # name, magic 0xBEE1, version 0
_BLOCK = 32 * 1024
_FRAME = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
# wandb warns on stderr about any single value over 100,000 bytes.
_PART = 90_000
_NONE = "the run was stopped before it logged one, or diffect did not make it"
_CUT, _DAMAGED = "the log is cut off within a message", "the log is damaged"
_ABOUT = re.compile(r"(\d+) parts, sha256 ([0-9a-f]{64})")


def to_summary(record: Record) -> dict[str, str]:
    """The record as entries for `run.summary.update`: its JSON text in numbered parts, with count and hash.

    Inverse: `from_summary`. A later call may have fewer parts; the count says which belong together.
    """
    text = record_file.dumps(record)
    parts = [text[start : start + _PART] for start in range(0, len(text), _PART)]
    summary = {f"record/{number:03d}": part for number, part in enumerate(parts)}
    summary["record"] = f"{len(parts)} parts, sha256 {hashlib.sha256(text.encode()).hexdigest()}"
    return summary


def from_summary(summary: Mapping[str, Any], where: str = "the summary") -> Record:
    """The record in a run's summary; ValueError naming `where` if there is none or parts are missing."""
    about = _ABOUT.fullmatch(str(summary.get("record", "")))
    if about is None:
        raise ValueError(f"{where} holds no record: the run ended before its first one, or diffect did not make it")
    text = "".join(str(summary.get(f"record/{number:03d}", "")) for number in range(int(about[1])))
    if hashlib.sha256(text.encode()).hexdigest() != about[2]:
        raise ValueError(f"{where} holds a part of a record only: the log was cut off while it was written")
    return record_file.loads(text, where)


def read(path: Path) -> Record:
    """The last whole record in the offline log `path`, also of a log that a crash cut off.

    Raises ValueError naming the path for a file that cannot be read, is no W&B log, or holds no whole
    record, and says if the log is cut off or damaged.
    """
    # Only here: wandb takes a second to import, and whoever reads record.json never needs it.
    from wandb.proto import wandb_internal_pb2

    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    if not data.startswith(_HEADER):
        raise ValueError(f"{path} is no W&B log: its first bytes are {data[:7]!r}, expected {_HEADER!r}")
    summary: dict[str, str] = {}
    found: Record | None = None
    problem: ValueError | None = None
    messages, lost = _messages(data)
    for message in messages:
        entry = wandb_internal_pb2.Record()
        try:
            entry.ParseFromString(message)
        except Exception:  # protobuf's DecodeError has no fixed home; a message that does not parse is lost
            continue
        if entry.WhichOneof("record_type") != "summary" or not _absorb(entry.summary, summary):
            continue
        try:
            found, problem = from_summary(summary, str(path)), None
        except ValueError as error:
            problem = error
    if found is not None:
        return found
    reason = f"{lost}, and what is left of it has none" if lost else _NONE
    raise problem or ValueError(f"{path} holds no record: {reason}")


def _absorb(update: Any, summary: dict[str, str]) -> bool:
    """Take an update's entries for the record into `summary`; True if there were any."""
    seen = False
    for item in update.update:
        key = item.key or "/".join(item.nested_key)
        if key == "record" or key.startswith("record/"):
            summary[key] = json.loads(item.value_json)
            seen = True
    return seen


def _messages(data: bytes) -> tuple[list[bytes], str | None]:
    """The messages of a log in order, and what it has lost: damage costs its block, a cut the last message."""
    found: list[bytes] = []
    parts: list[bytes] = []
    lost = None
    position = len(_HEADER)
    while position + _FRAME.size <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < _FRAME.size:
            position += left
            continue
        crc, length, kind = _FRAME.unpack_from(data, position)
        start = position + _FRAME.size
        body = data[start : start + length]
        if len(body) < length or zlib.crc32(body, zlib.crc32(bytes([kind]))) != crc:
            lost = _CUT if _ends(data, position, length) else _DAMAGED
            parts = []
            position += left
            continue
        position = start + length
        if kind in (_FULL, _FIRST):
            parts = []
        elif not parts:  # its beginning was lost
            continue
        parts.append(body)
        if kind in (_FULL, _LAST):
            found.append(b"".join(parts))
            parts = []
    return found, _CUT if parts or data[position:].strip(b"\0") else lost


def _ends(data: bytes, position: int, length: int) -> bool:
    """Whether the frame at `position` is the last one and not all there, or was never written: zeros are no frame."""
    inside = length <= _BLOCK - position % _BLOCK - _FRAME.size
    return (inside and position + _FRAME.size + length > len(data)) or not data[position:].strip(b"\0")
