"""A run's identity: a hash of all that can change one of its numbers, and of nothing else."""

from __future__ import annotations

import copy
import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

import diffect
from diffect.runs import record as records

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


def of(cfg: DictConfig) -> str:
    """The signature of a composed `train` config; the data source answers for the data, without decoding any.

    Data that cannot be read have no fingerprint: the run still gets a name, and fails with the reason when it starts.
    """
    config = OmegaConf.to_container(
        OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]), resolve=True
    )
    assert isinstance(config, dict)
    if config.get("start") is not None:
        config["start"] = _name(Path(str(config["start"])).expanduser())
    return signature({str(key): value for key, value in config.items()}, fingerprint(cfg))


def _name(folder: Path) -> str:
    """The signature of the run in a folder: wherever it lies, it is the same run. A run that is none fails later."""
    try:
        return str(records.read(folder / records.RECORD)["signature"])
    except ValueError:
        return str(folder)


def fingerprint(cfg: DictConfig) -> str:
    """Hex digits that name the data a config trains and tests on, or "unreadable"."""
    from hydra.utils import instantiate

    try:
        source = instantiate(cfg.data.source)
        chosen = cfg.data.category
        names = source.categories() if chosen == "all" else [chosen] if isinstance(chosen, str) else list(chosen)
        parts = [f"{name}:{source.fingerprint(name)}" for name in names]
    except Exception:
        return "unreadable"
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
