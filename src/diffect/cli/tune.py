"""diffect tune: choose settings on synthetic defects, then run the choice; a finished tuning is not repeated."""

import contextlib
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from diffect.cli import train
from diffect.config import inert
from diffect.data import synthetic
from diffect.data.splits import LEAST
from diffect.storage.lock import once
from diffect.training import fingerprint
from diffect.tuning import candidates, record


def run(cfg: DictConfig) -> dict[str, Any]:
    """Gather the evidence, choose, run the choice, and record all of it in tune.json."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    try:
        check(cfg)
        listed = candidates.expand(cfg, list(hydra.overrides.task), train.GROUPS)
        for candidate in listed:
            train.check(candidate.config)
        task, denoiser = list(hydra.overrides.task), hydra.runtime.choices["denoiser"]
        jobs = []
        for candidate in listed:
            overrides = [*task, *(f"{key}={value}" for key, value in candidate.overrides.items())]
            jobs.append(inert.Job.of(overrides, candidate.config, candidate.overrides.get("denoiser", denoiser)))
        inert.refuse(jobs)
        name = fingerprint.of(cfg)

        def make() -> record.TuningRecord:
            # As for a run: what is finished must not wait for torch.
            from diffect.tuning.search import Tuning

            chosen = {key: value for key, value in train.choices(hydra).items() if not key.startswith("tune.")}
            return Tuning(cfg, folder, name, chosen, listed).execute()

        alone = hydra.mode == RunMode.RUN
        finished = partial(record.finished, folder, name, cfg.tune.hindsight)
        done, found = once(folder, finished, make, wait=alone)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only if it failed before it wrote anything
    if alone:
        record.show(done, folder, found)
    return {"line": f"{name}  {done.label(done.chosen.candidate)}", "found": found}


def check(cfg: DictConfig) -> None:
    """What can be refused before anything is composed, imported or written."""
    train.check(cfg)
    try:
        synthetic.check_kinds(cfg.tune.kinds or ())
    except ValueError as error:
        raise ValueError(f"tune.{error}") from error
    if cfg.data.get("shots") is not None and cfg.data.shots < LEAST:
        raise ValueError(
            f"data.shots is {cfg.data.shots}, which leaves no selection images to choose settings on; tuning needs "
            f"{LEAST} or more"
        )
