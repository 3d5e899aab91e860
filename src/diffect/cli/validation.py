"""What kind of value a config key holds, told in one sentence where it holds another, before any work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf


@dataclass(frozen=True)
class Kind:
    """What is allowed, in words, and whether a value is."""

    said: str
    fits: Callable[[Any], bool]


def or_null(kind: Kind, why: str) -> Kind:
    """The same, or null, which means `why`."""
    return Kind(f"{kind.said}, or null for {why}", lambda value: value is None or kind.fits(value))


def whole(least: int) -> Kind:
    """Whole numbers from `least` up."""

    def fits(value: Any) -> bool:
        return isinstance(value, int) and not isinstance(value, bool) and value >= least

    return Kind(f"a whole number, {least} or more", fits)


def number(least: float | None = None) -> Kind:
    """Numbers, from `least` up if there is one."""

    def fits(value: Any) -> bool:
        real = isinstance(value, int | float) and not isinstance(value, bool)
        return real and (least is None or value >= least)

    return Kind("a number" if least is None else f"a number, {least:g} or more", fits)


def numbers(kind: Kind, what: str) -> Kind:
    """A list of numbers of a kind."""

    def fits(value: Any) -> bool:
        return isinstance(value, ListConfig) and all(map(kind.fits, value))

    return Kind(f"a list of {what}", fits)


def names(what: str) -> Kind:
    """A name or a list of them."""

    def fits(value: Any) -> bool:
        held = value if isinstance(value, ListConfig) else [value]
        return all(isinstance(name, str) for name in held)

    return Kind(what, fits)


def chosen(group: str, key: str) -> Kind:
    """A whole part of the config, chosen from a group."""
    return Kind(f"a choice of its group: {group}@{key}=NAME", lambda value: isinstance(value, DictConfig))


TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
TEXT = Kind("text", lambda value: isinstance(value, str))
PATCHES = or_null(number(), "all patches")
WINDOW = or_null(whole(1), "all cells")

KINDS = {
    "seed": whole(0),
    "threads": or_null(whole(1), "torch's own choice"),
    "panel": whole(0),
    "gallery": whole(0),
    "evidence": TRUTH,
    "conditional": TRUTH,
    "data.category": names("all, the name of a category or a list of names, a number among them in quotes"),
    "data.size": whole(16),
    "data.shots": or_null(whole(1), "all images"),
    "data.contamination": number(0),
    "data.contamination_from": or_null(TEXT, "synthetic defects"),
    "data.augment": names("the name of a kind of copies or a list of names, [] for none"),
    "data.augment_copies": whole(0),
    "data.batch_size": whole(1),
    "data.batches_per_epoch": whole(1),
    "data.seed": whole(0),
    "data.cache": or_null(TEXT, "the usual place"),
    "data.source.seed": whole(0),
    "data.source.size": whole(1),
    "schedule.log_snr_range": numbers(number(), "two numbers, [low, high]"),
    "backbone.blocks": numbers(whole(0), "whole numbers"),
    "training.steps": whole(1),
    "training.validate_every": whole(1),
    "training.learning_rate": number(0),
    "training.weight_decay": number(0),
    "training.warmup": whole(0),
    "training.ema": number(0),
    "evaluation.conformal_rate": number(0),
    "evaluation.replicates": whole(0),
    "evaluation.latency_repeats": whole(1),
    "representation.grid": or_null(whole(1), "the finest level's own"),
    "representation.prior": number(),
    "representation.correlation_prior": number(),
    "representation.floor": number(),
    "representation.shrinkage": number(),
    "representation.conditional": TRUTH,
    "outlier_removal.denoiser": chosen("denoiser", "outlier_removal.denoiser"),
    "outlier_removal.scorer": chosen("scorer", "outlier_removal.scorer"),
    "outlier_removal.threshold": number(0),
    "outlier_removal.folds": whole(2),
    "outlier_removal.calibration": TRUTH,
    "denoiser.conditional": TRUTH,
    "denoiser.label_dropout": number(0),
    "denoiser.guidance": number(),
    "denoiser.network.width": whole(1),
    "denoiser.network.depth": whole(1),
    "denoiser.network.widths": numbers(whole(1), "whole numbers"),
    "denoiser.network.kernel": whole(1),
    "denoiser.network.expand": whole(1),
    "denoiser.network.patch": whole(1),
    "denoiser.network.heads": whole(1),
    "denoiser.network.layers": whole(1),
    "denoiser.network.head": whole(1),
    "denoiser.denoiser.memory": PATCHES,
    "denoiser.denoiser.window": WINDOW,
    "denoiser.denoiser.conditional": TRUTH,
    "denoiser.denoiser.seed": whole(0),
    "denoiser.memory": PATCHES,
    "denoiser.window": WINDOW,
    "denoiser.seed": whole(0),
    "scorer.levels": numbers(number(), "log-SNRs between -20 and 20"),
    "scorer.shrinkage": number(),
    "scorer.start": number(),
    "scorer.stop": number(),
    "scorer.low": number(),
    "scorer.high": number(),
    "scorer.neighbourhood": whole(1),
    "scorer.width": whole(1),
    "scorer.depth": whole(1),
    "scorer.draws": whole(0),
    "scorer.steps": whole(1),
    "scorer.guidance": number(0),
    "scorer.adaptor": TRUTH,
    "head.kinds": names("the name of a kind of defects or a list of names, [] for all"),
    "head.copies": whole(1),
    "head.weight": number(),
    "head.steps": whole(1),
    "head.batch_size": whole(1),
    "head.learning_rate": number(),
    "head.weight_decay": number(),
    "head.width": whole(1),
    "head.dropout": number(),
    "anomaly_map.blur": number(0),
    "anomaly_map.share": number(0),
    "anomaly_map.border": whole(0),
    "anomaly_map.conditional": TRUTH,
}
"""What Python would otherwise refuse in its own words; which of these values do is for their owner to say."""

_ABSENT = object()


def check(cfg: DictConfig) -> None:
    """ValueError for the first key of the config that holds what it must not; keys that are not there are no error."""
    for known, kind in KINDS.items():
        # Cleaning has a denoiser and a scorer of its own.
        for key in (known, f"outlier_removal.{known}") if known.startswith(("denoiser.", "scorer.")) else (known,):
            value = OmegaConf.select(cfg, key, default=_ABSENT)
            if value is not _ABSENT and not kind.fits(value):
                shown = list(value) if isinstance(value, ListConfig) else value
                said = "null" if value is None else repr(shown)
                raise ValueError(f"{key} is {said}; it must be {kind.said}")
