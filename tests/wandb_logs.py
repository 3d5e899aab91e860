"""Offline W&B logs without wandb.init, which takes seconds each: the frames that wandb writes, for made-up records."""

import json
import struct
import zlib
from pathlib import Path
from typing import Any

from records import record_of
from wandb.proto import wandb_internal_pb2

from diffect.runs import wandb_files

_BLOCK = 32 * 1024


def write(path: Path, *records: dict[str, Any]) -> Path:
    """A log at `path` with some metrics, and then each of the records in turn."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = bytearray(b":W&B\xe1\xbe\x00")
    for summary in ({"loss": 0.5}, *(wandb_files.to_summary(record_of(record)) for record in records)):
        message = wandb_internal_pb2.Record()
        for key, value in summary.items():
            item = message.summary.update.add()
            item.key, item.value_json = key, json.dumps(value)
        _append(data, message.SerializeToString())
    path.write_bytes(data)
    return path


def _append(data: bytearray, message: bytes) -> None:
    """The message, cut where a block of 32 KiB ends: LevelDB's log format."""
    start = 0
    while True:
        room = _BLOCK - len(data) % _BLOCK
        if room < 7:
            data += b"\0" * room
            continue
        part = message[start : start + room - 7]
        last = start + len(part) == len(message)
        kind = (1 if last else 2) if start == 0 else (4 if last else 3)
        data += struct.pack("<IHB", zlib.crc32(part, zlib.crc32(bytes([kind]))), len(part), kind) + part
        start += len(part)
        if last:
            return
