"""Weights & Biases: every run is logged, offline unless there is an API key; it never asks and never hangs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from diffect.metrics.curves import image_curve
from diffect.runs.record import ImageScore, Record

Mode = Literal["auto", "online", "offline"]


@dataclass(frozen=True)
class Tracking:
    """Where runs are logged: `mode` is auto (online if an API key is there, else offline), online or offline."""

    project: str = "diffect"
    entity: str | None = None
    mode: Mode = "auto"
    timeout: float = 30.0

    def start(
        self,
        folder: Path,
        name: str,
        group: str,
        tags: Sequence[str],
        config: Mapping[str, Any],
    ) -> Any:
        """Start a W&B run that writes under `folder`; offline, with a line on stderr, if the server does not answer."""
        import wandb

        online = self.online()
        options: dict[str, Any] = {
            "project": self.project,
            "entity": self.entity,
            "dir": str(folder),
            "name": name,
            "group": group,
            "tags": [tag[:64] for tag in tags],
            "config": dict(config),
            "reinit": "finish_previous",
        }
        settings: dict[str, Any] = {
            "silent": True,
            "console": "off",
            "disable_git": True,
            "disable_code": True,
            "x_disable_stats": True,
            "x_disable_meta": True,
            "init_timeout": self.timeout,
            "finish_timeout": self.timeout,
        }
        if online:
            try:
                return wandb.init(mode="online", settings=wandb.Settings(**settings), **options)
            except (wandb.errors.Error, OSError) as error:
                _unreachable(self.mode, error)
        return wandb.init(mode="offline", settings=wandb.Settings(**settings), **options)

    def online(self) -> bool:
        """Whether runs go to the server; ValueError for an unknown mode, or if mode=online cannot be had."""
        if self.mode not in ("auto", "online", "offline"):
            raise ValueError(f"tracking.mode is {self.mode!r}; allowed: auto, online, offline")
        wanted = os.environ.get("WANDB_MODE", self.mode) if self.mode == "auto" else self.mode
        return wanted in ("auto", "online") and _reachable(self.mode, round(self.timeout))


@cache  # a sweep asks once, not once a run
def _reachable(mode: Mode, timeout: int) -> bool:
    """Whether there is an API key and W&B accepts it."""
    import wandb

    try:
        if wandb.login(prompt=False, timeout=timeout):
            return True
    except (wandb.errors.Error, OSError) as error:
        _unreachable(mode, error)
        return False
    if mode == "online":
        raise ValueError(
            "tracking.mode is online, but W&B has no API key here: run `wandb login`, or set WANDB_API_KEY"
        )
    return False


def _unreachable(mode: Mode, error: Exception) -> None:
    """ValueError if the mode is online; else say on stderr that runs are logged offline."""
    reason = str(error).splitlines()[0]
    if mode == "online":
        raise ValueError(f"tracking.mode is online, but W&B does not answer: {reason}") from error
    print(f"W&B does not answer ({reason}): logged offline; `wandb sync` sends it later", file=sys.stderr)


def log_pictures(tracker: Any, picture: Any, record: Record) -> None:
    """Log the panel and the ROC curve of each category, and put the metrics into the summary."""
    import wandb

    logged: dict[str, Any] = {}
    if picture is not None:
        logged["panel"] = wandb.Image(picture)
    for category, result in record.results.items():
        if len({row.anomalous for row in result.scores}) == 2:
            logged[f"roc/{category}"] = _roc(result.scores)
        for name, value in result.metrics.items():
            if value is not None:
                tracker.summary[f"{category}/{name}"] = value
    tracker.log(logged)


def _roc(rows: Sequence[ImageScore]) -> Any:
    import wandb
    from matplotlib.figure import Figure

    scores, anomalous = [row.score for row in rows], [row.anomalous for row in rows]
    fp, tp = (curve[0] for curve in image_curve(scores, anomalous))
    axes = (figure := Figure(figsize=(4, 4))).subplots()
    axes.plot([0, *(fp / fp[-1])], [0, *(tp / tp[-1])])
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", xlim=(0, 1), ylim=(0, 1.01))
    return wandb.Image(figure)
