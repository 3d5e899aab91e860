"""Weights & Biases: runs are logged, offline unless there is an API key. It never asks, hangs, or costs a run."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers.logger import Logger

from diffect.config.types import EntityName, PositiveFloat, ProjectName
from diffect.metrics.curves import image_curve
from diffect.runs import wandb as logs
from diffect.runs.record import ImageScore, Record, Tracked

logger = logging.getLogger(__name__)

Mode = Literal["auto", "online", "offline", "disabled"]
MODES = {"online": "auto", "run": "auto", "offline": "offline", "dryrun": "offline", "disabled": "disabled"}
"""By WANDB_MODE, with wandb's older names."""

STEP = "trainer/global_step"  # the axis of what is logged while a run trains


@dataclass(frozen=True)
class Tracking:
    """Where runs are logged.

    `mode` auto takes WANDB_MODE, if that is set, else online if there is an API key, and else offline; disabled writes
    no log. `timeout`: seconds to wait for the server.
    """

    project: ProjectName = "diffect"
    entity: EntityName | None = None
    mode: Mode = "auto"
    timeout: PositiveFloat = 30.0

    def start(self, folder: Path, record: Record) -> Tracker:
        """The log of a run, below its folder; offline, with a warning, if the server does not answer."""
        mode = self.available()
        for attempt in {"online": ("online", "offline"), "offline": ("offline",)}.get(mode, ()):
            try:
                return Tracker(self._init(folder, record, attempt))
            except Exception as error:
                _stopped(error, f"is not logged {attempt}")
        return Tracker(None)

    def available(self) -> str:
        """How runs are logged here: online, offline or disabled.

        ValueError if WANDB_MODE is unknown, or if `mode` is online and there is no API key or no answer.
        """
        mode: str | None = self.mode
        if mode == "auto" and (variable := os.environ.get("WANDB_MODE")):
            mode = MODES.get(variable)
            if mode is None:
                raise ValueError(
                    f"WANDB_MODE is {variable!r} in the environment; it must be online, offline or disabled, or not set"
                )
        if mode in ("auto", "online"):
            return "online" if _reachable(self.mode == "online", round(self.timeout)) else "offline"
        return str(mode)

    def _init(self, folder: Path, record: Record, mode: Any) -> Any:
        import wandb

        run = wandb.init(
            project=self.project,
            entity=self.entity,
            dir=str(folder),
            name=record.signature,
            group=record.study,
            tags=[f"{key}={value}"[:64] for key, value in record.choices.items()],
            config=record.config,
            mode=mode,
            reinit="finish_previous",
            settings=wandb.Settings(
                silent=True,
                console="off",
                disable_git=True,
                disable_code=True,
                x_disable_stats=True,
                x_disable_meta=True,
                init_timeout=self.timeout,
                finish_timeout=self.timeout,
            ),
        )
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP, step_sync=True)
        return run


class Tracker(Logger):
    """The W&B log of one run, or none. Whatever fails in it is a warning, and the run goes on without."""

    def __init__(self, run: Any) -> None:
        super().__init__()
        self.run = run  # None: nothing is logged

    @property
    def tracked(self) -> Tracked | None:
        """How the run is found in W&B."""
        return None if self.run is None else Tracked(id=self.run.id, mode="offline" if self.run.offline else "online")

    @property
    def name(self) -> str:
        """For Lightning."""
        return "wandb"

    @property
    def version(self) -> None:
        """For Lightning."""

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """For Lightning; the config is in the log from the start."""

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log what training measured at a step."""
        self._attempt(lambda run: run.log({**metrics, STEP: step}))

    def log_results(self, picture: Any, record: Record) -> None:
        """Log the panel and the ROC curve of each category, and put the metrics into the summary."""
        self._attempt(lambda run: _log_results(run, picture, record))

    def finish(self, record: Record) -> None:
        """Put the record among the files of the log, and end it."""
        self._attempt(lambda run: logs.save(run, record))
        self._attempt(lambda run: run.finish(exit_code=0 if record.status == "finished" else 1))

    def _attempt(self, act: Callable[[Any], Any]) -> None:
        if self.run is None:
            return
        try:
            act(self.run)
        except Exception as error:
            self.run = None
            _stopped(error, "is logged no further")


def _stopped(error: Exception, consequence: str) -> None:
    """Say so, and end wandb's process, so that the next run of a sweep starts another one."""
    logger.warning("W&B failed (%s): the run goes on, and %s", _reason(error), consequence)
    with contextlib.suppress(Exception):
        import wandb

        wandb.teardown(1)


@cache  # a sweep asks once, not once a run
def _reachable(required: bool, timeout: int) -> bool:
    """Whether there is an API key and W&B accepts it; ValueError if there must be."""
    os.environ.setdefault("WANDB_HTTP_TIMEOUT", str(timeout))  # all that `login` takes for the time it waits
    try:
        import wandb

        if wandb.login(prompt=False):
            return True
    except Exception as error:
        if required:
            raise ValueError(f"tracking.mode is online, but W&B does not answer: {_reason(error)}") from error
        logger.warning("W&B does not answer (%s): logged offline; `wandb sync` sends it later", _reason(error))
        return False
    if required:
        raise ValueError(
            "tracking.mode is online, but W&B has no API key here: run `wandb login`, or set WANDB_API_KEY"
        )
    return False


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _log_results(run: Any, picture: Any, record: Record) -> None:
    import wandb

    logged = {} if picture is None else {"panel": wandb.Image(picture)}
    for category, result in record.results.items():
        if len({row.anomalous for row in result.scores}) == 2:
            logged[f"roc/{category}"] = wandb.Image(_roc(result.scores))
        for name, value in result.metrics.items():
            if value is not None:
                run.summary[f"{category}/{name}"] = value
    run.log(logged)


def _roc(rows: Sequence[ImageScore]) -> Any:
    from matplotlib.figure import Figure

    scores, anomalous = [row.score for row in rows], [row.anomalous for row in rows]
    fp, tp = (curve[0] for curve in image_curve(scores, anomalous))
    axes = (figure := Figure(figsize=(4, 4))).subplots()
    axes.plot([0, *(fp / fp[-1])], [0, *(tp / tp[-1])])
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", xlim=(0, 1), ylim=(0, 1.01))
    return figure
