"""Training that starts from a finished run's network, made on other categories, instead of from random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffect import assembly, checkpoints
from diffect.detector import Detector
from diffect.runs import record as records

_AVERAGED = "averaged.module."


def start_from(folder: Path, detector: Detector) -> dict[str, Any]:
    """Give the learner the averaged weights of the run in `folder`; tells which run that was and what it has seen.

    The representation stays that of the images at hand: x0 has unit variance in both, which is what makes a network
    travel. ValueError where the run is not finished, has no network, or has another one.
    """
    path = folder / records.RECORD
    record = records.read(path)
    if record["status"] != "finished":
        raise ValueError(
            f"start is {folder}, a run that is {record['status']}: only a finished one can be gone on from"
        )
    if detector.learner is None or detector.averaged is None:
        raise ValueError(
            f"start is {folder}, but nothing learns by steps here: take a denoiser that does, such as denoiser=conv"
        )
    kept = checkpoints.read(folder / assembly.CHECKPOINT, f"to train the run again, delete {records.RECORD} beside it")
    state = {name.removeprefix(_AVERAGED): value for name, value in kept["state"].items() if name.startswith(_AVERAGED)}
    if not state:
        raise ValueError(f"start is {folder}, a run without a network: its denoiser was solved at once")
    try:
        detector.learner.load_state_dict(state)
        detector.averaged.module.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"start is {folder}, whose network is another one ({str(error).splitlines()[1].strip()}): give the same "
            "denoiser, backbone and size; one that was told several categories (conditional=true) does not "
            "fit a run of one"
        ) from error
    return {"signature": record["signature"], "study": record["study"], "categories": record["categories"]}
