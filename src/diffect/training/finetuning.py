"""Fine-tuning: training that starts from the network of a finished run instead of from random weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from diffect.config.description import enumerated
from diffect.runs import record_file
from diffect.runs.record import FineTuning
from diffect.runs.selection import flat

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
    _, record = record_file.finished_run("finetune_from", cfg.finetune_from)
    parts = {part: OmegaConf.to_container(cfg[part], resolve=True) for part in ("denoiser", "scorer", "representation")}
    theirs, ours = _meaning(record.config), _meaning(parts)
    if theirs.get("denoiser._target_") != ours.get("denoiser._target_"):
        return  # `start_from` refuses it: here it is not known what learns
    for key in dict.fromkeys([*ours, *theirs]):
        there, here = (json.dumps(values.get(key, "not there")).strip('"') for values in (theirs, ours))
        if key not in FREE and there != here:
            name = key.removeprefix("representation.") if key.startswith("representation.backbone.") else key
            raise ValueError(
                f"finetune_from is {cfg.finetune_from}, whose settings differ: {name} is {there} there "
                f"and {here} here; it must be the same"
            )


def start_from(folder: Path, detector: DetectorModule) -> FineTuning:
    """Load the averaged weights of the run in `folder` into the learner; return which run that was.

    The representation is still fitted to the new images: x0 has unit variance in both runs, so the network carries
    over. Raises ValueError if the run is not finished, has no network, or has other tensors. See `check` for the rest.
    """
    from diffect.storage import checkpoints

    (_, record), given = record_file.finished_run("finetune_from", folder), f"finetune_from is {folder}"
    if detector.learner is None or detector.averaged is None:
        raise ValueError(f"{given}, but this detector is not trained by steps: take a network, such as denoiser=conv")
    try:
        kept = checkpoints.read(folder / record_file.CHECKPOINT, f"to train the run again, delete the folder {folder}")
    except ValueError as error:
        raise ValueError(f"{given}: {error}") from error
    learned = f"{kept.get('learned')}."
    state = {name.removeprefix(learned): value for name, value in kept["state"].items() if name.startswith(learned)}
    if not state:
        raise ValueError(f"{given}, a run without a network: its denoiser has a closed form")
    try:
        detector.learner.load_state_dict(state)
        detector.averaged.module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"{given}, whose network has other tensors: give the same denoiser, backbone and size, and as many "
            "categories if it is conditioned on them (conditional=true)"
        ) from error
    return FineTuning(signature=record.signature, study=record.study, categories=record.categories)


def describe(run: FineTuning) -> str:
    """Where the weights come from, for reports."""
    return f"that of a run on {enumerated(run.categories)}"


def _meaning(config: dict[str, Any]) -> dict[str, Any]:
    """The values of a resolved config, by their keys, that say what goes into a network and what comes out of it."""
    denoiser = config.get("denoiser")
    alone = isinstance(denoiser, dict) and denoiser.get("_target_") == _NONE  # then the scorer learns
    parts = ("denoiser", *(("scorer",) if alone else ()), "representation")
    return flat({part: config[part] for part in parts if part in config})
