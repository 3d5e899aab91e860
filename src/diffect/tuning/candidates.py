"""The candidates of a choice: from lists of values to configs, all composed and checked before any work."""

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra import compose
from omegaconf import DictConfig, OmegaConf

from diffect.config import inert
from diffect.config.validate import settings
from diffect.errors import suggest
from diffect.training import fingerprint

PLAIN = re.compile(r"[\w./-]+")


@dataclass(frozen=True)
class Candidate:
    """One setting: its overrides, none for the config as given, and the config of a run that has it."""

    overrides: dict[str, str]
    config: DictConfig

    def of(self, category: str) -> DictConfig:
        """The config of a run on one category."""
        config = self.config.copy()
        OmegaConf.update(config, "data.category", category)
        return config


def expand(cfg: DictConfig, task: Sequence[str], groups: Sequence[str]) -> list[Candidate]:
    """The config as given, then the products of the grids in `tune.candidates`, in the order listed, each setting once.

    Args:
        cfg: the config as given.
        task: the overrides of the command line.
        groups: the config groups; candidates may choose in all but `data` and `trainer`.
    """
    allowed = [*(group for group in groups if group not in ("data", "trainer")), "training"]
    settings: list[dict[str, Any]] = [{}]
    for grid in _grids(cfg, allowed):
        settings += [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    bases: dict[tuple[str, ...], DictConfig] = {(): _without_tune(cfg)}
    candidates: dict[str, Candidate] = {}  # by their whole config
    for setting in settings:
        picked = tuple(f"{key}={value}" for key, value in setting.items() if key in groups)
        if picked not in bases:
            bases[picked] = _composed(task, picked)
        config = bases[picked].copy()
        for key, value in setting.items():
            if key not in groups:
                _set(config, key, value)
        text = json.dumps(OmegaConf.to_container(config, resolve=True), sort_keys=True, default=str)
        candidates.setdefault(text, Candidate({key: _text(value) for key, value in setting.items()}, config))
    return list(candidates.values())


def training_name(config: DictConfig) -> str:
    """12 hex digits that name what is trained: all settings that can change a number, without the map and the head.

    They are fitted after training. So is the scorer, unless it learns by steps, in a denoiser's place.
    """
    all_settings = settings(OmegaConf.to_container(config, resolve=True), fingerprint.section_of(config))
    after = ("head", "anomaly_map", "evaluation", *(() if inert.scorer_learns(config) else ("scorer",)))
    values = fingerprint.changing(list(all_settings))
    return fingerprint.digest({key: value for key, value in values.items() if key.split(".")[0] not in after})


def _grids(cfg: DictConfig, allowed: Sequence[str]) -> list[dict[str, list[Any]]]:
    """The grids, each with the values of every key; ValueError where a key or its values cannot be chosen from."""
    grids: Any = OmegaConf.to_container(cfg, resolve=True)["tune"]["candidates"]  # type: ignore[call-overload, index]
    if not isinstance(grids, list) or not grids or not all(isinstance(grid, dict) and grid for grid in grids):
        raise ValueError(
            f"tune.candidates is {grids!r}; it must be a list of grids, each config keys with their values"
        )
    for key, values in itertools.chain.from_iterable(grid.items() for grid in grids):
        if str(key).split(".")[0] not in allowed or key == "training":
            hint = suggest(str(key), allowed) or ";"
            raise ValueError(
                f"tune.candidates names {key}, which cannot be tuned{hint} allowed: a key of "
                f"{', '.join(allowed)}, or one of these groups itself"
            )
        if not isinstance(values, list) or not values:
            raise ValueError(f"tune.candidates gives {key} the values {values!r}; it must be a list of one or more")
    return grids


def _composed(task: Sequence[str], picked: Sequence[str]) -> DictConfig:
    """The config of the command line with these choices of groups in place of those made there."""
    replaced = {choice.partition("=")[0] for choice in picked}
    kept = [override for override in task if override.partition("=")[0] not in replaced]
    return _without_tune(compose("tune", [*kept, *picked]))


def _without_tune(cfg: DictConfig) -> DictConfig:
    return OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key not in ("tune", "hydra")])


def _set(config: DictConfig, key: str, value: Any) -> None:
    parent, _, last = key.rpartition(".")
    node = OmegaConf.select(config, parent)
    if not isinstance(node, DictConfig) or last not in node:
        hint = suggest(key, [f"{parent}.{name!s}" for name in node or {}])
        raise ValueError(f"tune.candidates names {key}, which the config does not have{hint}")
    OmegaConf.update(config, key, value, merge=False)


def _text(value: Any) -> str:
    """A value in the grammar of overrides."""
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) else json.dumps(value)
    return json.dumps(value, separators=(",", ":"))
