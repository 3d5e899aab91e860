"""Fine-tuning: training that starts from the network of a finished run instead of from random weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from diffect.config.description import enumerated
from diffect.runs import record_file
from diffect.runs.record import FineTuning, Record

if TYPE_CHECKING:
    from diffect.detector.module import DetectorModule

FREE = ("denoiser.guidance", "denoiser.label_dropout", "denoiser.conditional", "representation.conditional")
"""Keys of the denoiser and the representation that may differ from those of the other run."""

_NONE = "diffect.denoisers.learned.NoDenoiser"


def check(cfg: DictConfig) -> None:
    """Raise ValueError unless `finetune_from` is a finished run whose network fits this config; imports no torch.

    The representation with its backbone, and the denoiser (or the scorer, if that is what learns) must be the same:
    tensors of equal shapes may still mean different things. Data, schedule, training and scoring may differ.
    """
    if cfg.finetune_from is None:
        return
    record = _finished(cfg.finetune_from)
    parts = {part: OmegaConf.to_container(cfg[part], resolve=True) for part in ("denoiser", "scorer", "representation")}
    theirs, ours = _meaning(record.config), _meaning(parts)
    if theirs.get("denoiser._target_") != ours.get("denoiser._target_"):
        return  # `start_from` refuses it: here it is not known what learns
    for key in dict.fromkeys([*ours, *theirs]):
        there, here = theirs.get(key, "not there"), ours.get(key, "not there")
        if key not in FREE and there != here:
            name = key.removeprefix("representation.") if key.startswith("representation.backbone.") else key
            raise ValueError(
                f"finetune_from is {cfg.finetune_from}, whose network means something else: {name} "
                f"is {_as_text(there)} there and {_as_text(here)} here; it must be the same"
            )


def start_from(folder: Path, detector: DetectorModule) -> FineTuning:
    """Load the averaged weights of the run in `folder` into the learner; return which run that was.

    The representation is still fitted to the new images: x0 has unit variance in both runs, so the network carries
    over. Raises ValueError if the run is not finished, has no network, or has other tensors. See `check` for the rest.
    """
    from diffect.storage import checkpoints

    record = _finished(folder)
    if detector.learner is None or detector.averaged is None:
        raise ValueError(
            f"finetune_from is {folder}, but nothing learns by steps here: take a denoiser that "
            f"does, such as denoiser=conv"
        )
    try:
        kept = checkpoints.read(folder / record_file.CHECKPOINT, f"to train the run again, delete the folder {folder}")
    except ValueError as error:
        raise ValueError(f"finetune_from is {folder}: {error}") from error
    learned = f"{kept.get('learned')}."
    state = {name.removeprefix(learned): value for name, value in kept["state"].items() if name.startswith(learned)}
    if not state:
        raise ValueError(f"finetune_from is {folder}, a run without a network: its denoiser was solved at once")
    try:
        detector.learner.load_state_dict(state)
        detector.averaged.module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"finetune_from is {folder}, whose network has other tensors: give the same denoiser, backbone and size, "
            "and as many categories if it is conditioned on them (conditional=true)"
        ) from error
    return FineTuning(signature=record.signature, study=record.study, categories=record.categories)


def describe(run: FineTuning) -> str:
    """Where the weights come from, for reports."""
    return f"that of a run on {enumerated(run.categories)}"


def _finished(start: Any) -> Record:
    """The record of the finished run in the folder that `finetune_from` names."""
    folder = Path(str(start)).expanduser()
    allowed = "it must be the folder of a finished run, outputs/STUDY/SIGNATURE"
    if not folder.is_dir():
        raise ValueError(f"finetune_from is {start}, which is no folder; {allowed}")
    if not (folder / record_file.RECORD).is_file():
        raise ValueError(f"finetune_from is {start}, which holds no {record_file.RECORD}; {allowed}")
    try:
        record = record_file.read(folder / record_file.RECORD)
    except ValueError as error:
        raise ValueError(f"finetune_from is {start}, which holds no run of diffect's ({error}); {allowed}") from error
    if record.status != "finished":
        raise ValueError(
            f"finetune_from is {start}, a run that is {record.status}: only a finished one can be fine-tuned"
        )
    return record


def _meaning(config: Any) -> dict[str, Any]:
    """The leaves of a resolved config, by their keys, that say what goes into a network and what comes out of it."""
    denoiser = config.get("denoiser")
    alone = isinstance(denoiser, dict) and denoiser.get("_target_") == _NONE  # then the scorer learns
    parts = ("denoiser", *(("scorer",) if alone else ()), "representation")
    return {key: value for part in parts for key, value in _leaves(config.get(part), part)}


def _as_text(value: Any) -> str:
    """A value as it is given on the command line."""
    return json.dumps(value).strip('"')


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}")
    else:
        yield key, node
