"""Training that starts from a finished run's network, made on other categories, instead of from random weights."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from diffect.runs import record_file
from diffect.runs.record import FineTuning, Record

if TYPE_CHECKING:
    from diffect.detector.module import DetectorModule

FREE = ("denoiser.guidance", "denoiser.label_dropout", "denoiser.conditional", "representation.conditional")
"""Of what gives a network its meaning, the keys that do not: how it is asked, how it goes on, who has statistics."""

_NONE = "diffect.denoisers.learned.NoDenoiser"


def check(cfg: DictConfig) -> None:
    """ValueError where `start` is no finished run whose network means the same in this config; imports no torch.

    A network is told by its inputs and by what its output stands for: the representation with its backbone, and the
    denoiser, or the scorer where that learns in a denoiser's place. Tensors of one shape are no proof of either. Data,
    schedule, training and the judging of what was learned may be others.
    """
    if cfg.finetune_from is None:
        return
    record = _finished(cfg.finetune_from)
    parts = {part: OmegaConf.to_container(cfg[part], resolve=True) for part in ("denoiser", "scorer", "representation")}
    theirs, ours = _meaning(record.config), _meaning(parts)
    if theirs.get("denoiser._target_") != ours.get("denoiser._target_"):
        return  # one of them may be solved at once: `start_from` sees what learns, and refuses
    for key in dict.fromkeys([*ours, *theirs]):
        there, here = theirs.get(key, "not there"), ours.get(key, "not there")
        if key not in FREE and there != here:
            name = key.removeprefix("representation.") if key.startswith("representation.backbone.") else key
            raise ValueError(
                f"finetune_from is {cfg.finetune_from}, whose network means something else: {name} "
                f"is {_told(there)} there and "
                f"{_told(here)} here; it must be the same"
            )


def start_from(folder: Path, detector: DetectorModule) -> FineTuning:
    """Give the learner the averaged weights of the run in `folder`; tells which run that was and what it has seen.

    The representation stays that of the images at hand: x0 has unit variance in both, which is what makes a network
    travel. ValueError where the run is not finished, has no network, or has one of other tensors; that it means the
    same is for `check` to say.
    """
    from diffect.storage import checkpoints
    from diffect.training import build

    record = _finished(folder)
    if detector.learner is None or detector.averaged is None:
        raise ValueError(
            f"finetune_from is {folder}, but nothing learns by steps here: take a denoiser that "
            f"does, such as denoiser=conv"
        )
    try:
        advice = f"to train the run again, delete {record_file.RECORD} beside it"
        kept = checkpoints.read(folder / build.CHECKPOINT, advice)
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
            f"finetune_from is {folder}, whose network has other tensors: give the same denoiser, "
            f"backbone and size, and, as "
            "one that was told its categories (conditional=true) knows their number, as many categories"
        ) from error
    return FineTuning(signature=record.signature, study=record.study, categories=record.categories)


def _finished(start: Any) -> Record:
    """The record of the finished run in the folder that `start` names."""
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
            f"finetune_from is {start}, a run that is {record.status}: only a finished one can be gone on from"
        )
    return record


def _meaning(config: Any) -> dict[str, Any]:
    """The leaves of a resolved config, by their keys, that say what goes into a network and what comes out of it."""
    denoiser = config.get("denoiser")
    alone = isinstance(denoiser, dict) and denoiser.get("_target_") == _NONE  # what learns is the scorer
    parts = ("denoiser", *(("scorer",) if alone else ()), "representation")
    return {key: value for part in parts for key, value in _leaves(config.get(part), part)}


def _told(value: Any) -> str:
    """A value as it is given on the command line."""
    return json.dumps(value).strip('"')


def _leaves(node: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        for name, value in node.items():
            yield from _leaves(value, f"{key}.{name}")
    else:
        yield key, node
