"""A run's identity: a hash of all that can change one of its numbers, and of nothing else."""

from __future__ import annotations

import copy
import hashlib
import json
from typing import Any

import diffect

IRRELEVANT = (
    "study",
    "study_note",
    "evidence",
    "experiment",
    "tracking",
    "panel",
    "gallery",
    "tune.hindsight",
    "hydra",
    "data.root",
    "data.workers",
    "data.cache",
    "data.source.root",
    "data.source.cache",
    "data.source.sources.folder.root",
    "data.source.sources.textures.cache",
    "trainer.logger",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.log_every_n_steps",
)
"""Config keys that cannot change a number: names, places, displays. Not where the data lies counts, but what it is."""


def signature(config: dict[str, Any], fingerprint: str) -> str:
    """12 hex digits of SHA-256 over the resolved config less IRRELEVANT, the data's fingerprint and the version."""
    kept = copy.deepcopy(config)
    for path in IRRELEVANT:
        *parents, last = path.split(".")
        node: Any = kept
        for key in parents:
            node = node.get(key) if isinstance(node, dict) else None
        if isinstance(node, dict):
            node.pop(last, None)
    text = json.dumps([kept, fingerprint, diffect.__version__], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
