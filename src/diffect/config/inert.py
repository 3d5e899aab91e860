"""Settings that change no score of the chosen detector: refused, so that nobody compares runs that must be equal."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from diffect.config import static
from diffect.config.overrides import plain

_OF_LEARNING = ("schedule", "weight", "training", "trainer", "finetune_from")
_DATA_OF_LEARNING = ("data.batch_size", "data.batches_per_epoch")
_OF_EVERY_RUN = ("accelerator", "devices", "num_nodes", "strategy")  # of the trainer: where the work is done
DISPLAYED = (
    "logger",
    "profiler",
    "enable_progress_bar",
    "enable_model_summary",
    "log_every_n_steps",
    "default_root_dir",
)
"""Of the trainer: what is shown and logged, which changes no number and is never refused."""


@dataclass(frozen=True)
class Job:
    """One run of a sweep, or the only one: its overrides, its config, and the chosen denoiser's name."""

    overrides: Mapping[str, str]
    config: DictConfig
    denoiser: str

    @classmethod
    def of(cls, overrides: Sequence[str], config: DictConfig, denoiser: Any) -> Job:
        pairs = (plain(str(override)).partition("=") for override in overrides)
        return cls({key: value for key, _, value in pairs}, config, str(denoiser))


def decides(override: str) -> bool:
    """Whether an override can decide what is inert: it chooses the data, the denoiser or the scorer."""
    key = plain(override).partition("=")[0]
    return key in ("data", "denoiser", "scorer", "detector", "experiment") or key.endswith("_target_")


def refuse(jobs: Sequence[Job]) -> None:
    """ValueError for an override that changes no score of any of the jobs, or an axis that changes none of one's."""
    values: dict[str, set[str]] = {}
    for job in jobs:
        for key, value in job.overrides.items():
            values.setdefault(key, set()).add(value)
    for key, taken in values.items():
        given = [job for job in jobs if key in job.overrides]
        idle = [job for job in given if _is_idle(key, job.config)]
        if idle and (len(taken) > 1 or len(idle) == len(given)):
            raise ValueError(_sentence(key, idle[0]))


def learns(config: DictConfig) -> bool:
    """Whether the denoiser or the scorer of a run learns by steps."""
    return scorer_learns(config) or static.defines(str(config.denoiser._target_), "loss")


def scorer_learns(config: DictConfig) -> bool:
    """Whether the scorer learns by steps, in a denoiser's place."""
    return static.defines(str(config.scorer._target_), "loss")


def _is_idle(key: str, config: DictConfig) -> bool:
    if key == "data.root":
        source = OmegaConf.to_container(config.data.source, resolve=False)
        return ".root}" not in str(source)
    part, *rest = re.split(r"[./@]", key)
    if part == "trainer" and rest and rest[0] in (*_OF_EVERY_RUN, *DISPLAYED):
        return False
    return (part in _OF_LEARNING or key in _DATA_OF_LEARNING) and not learns(config)


def _sentence(key: str, job: Job) -> str:
    if key == "data.root":
        return "data.root says where a folder of images is, and the chosen data have none; add data=mvtec"
    return f"{key} changes no score of denoiser={job.denoiser}, which has a closed form: add denoiser=conv"
