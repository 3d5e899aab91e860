"""A Hydra sweeper for studies: the whole grid, with progress; one failing run does not stop the others.

Hydra finds sweepers in the namespace package `hydra_plugins` only, and imports this file at every start: it must
stay light.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from diffect.cli.launch import Command
from diffect.config import inert
from diffect.config.overrides import plain, reachable

PAUSE = 2.0  # seconds until a sweep looks again at runs that other processes are making


class StudySweeper(Sweeper):
    """Runs the product of `hydra.sweeper.params` and the command line, where the command line wins.

    With the launcher that runs jobs in this process, jobs are handed over one by one, so that progress can be shown
    between them; other launchers get them all at once.
    """

    def __init__(self, params: DictConfig | None = None) -> None:
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        assert isinstance(task_function, Command)
        self.config, self.task_function = config, task_function
        self.hydra_context = hydra_context
        self.launcher: Launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> Any:
        assert self.hydra_context is not None
        params = {str(key): value for key, value in (self.params or {}).items()}
        shown = grid(params, list(map(plain, arguments)), self.hydra_context.config_loader)
        progress = Progress(shown)
        jobs = [list(map(reachable, job)) for job in shown]
        self._check(jobs)
        left = list(range(len(jobs)))
        try:
            while left:
                held = self._round(left, jobs, shown, progress)
                if held == left:
                    time.sleep(PAUSE)
                left = held
        finally:
            progress.tally()
        progress.raise_failures()
        return None

    def _round(
        self, numbers: list[int], jobs: list[list[str]], shown: list[list[str]], progress: Progress
    ) -> list[int]:
        """Run the jobs of these numbers; return those that another process is making."""
        one_by_one = type(self.launcher).__name__ == "BasicLauncher"
        held = []
        for batch in [[number] for number in numbers] if one_by_one else [numbers]:
            if one_by_one:
                progress.started(shown[batch[0]])
            outcomes = self._launch([jobs[number] for number in batch], batch[0])
            for number, outcome in zip(batch, outcomes, strict=True):
                if not progress.ended(shown[number], outcome):
                    held.append(number)
        return held

    def _check(self, jobs: list[list[str]]) -> None:
        """Compose each swept value once and look at it: what is wrong is said now, not when its turn comes."""
        assert self.hydra_context is not None and self.config is not None
        seen: set[str] = set()
        composed: dict[tuple[str, ...], DictConfig] = {}
        for job in jobs:
            decisive = tuple(override for override in job if inert.decides(override))
            if decisive not in composed or not set(job) <= seen:
                seen |= set(job)
                config = self.hydra_context.config_loader.load_sweep_config(self.config, job)
                composed.setdefault(decisive, config)
                self.task_function.check(config)
        if self.task_function.name != "train":
            return  # tune checks its candidates itself
        parts = [composed[tuple(override for override in job if inert.decides(override))] for job in jobs]
        pairs = zip(jobs, parts, strict=True)
        inert.refuse([inert.Job.of(job, config, config.hydra.runtime.choices.denoiser) for job, config in pairs])

    def _launch(self, batch: list[list[str]], first: int) -> Sequence[JobReturn | Exception]:
        try:
            return self.launcher.launch(batch, initial_job_idx=first)
        except Exception as error:  # a job whose config does not compose never starts
            if len(batch) > 1:
                raise
            return [error]


class Progress:
    """Lines on stderr: runs done, running, failed, and the time left; the failures named at the end."""

    def __init__(self, jobs: list[list[str]]) -> None:
        self.total, self.done, self.found, self.start = len(jobs), 0, 0, time.monotonic()
        # What all jobs share is not repeated in every line.
        self.shared = set.intersection(*map(set, jobs)) if len(jobs) > 1 else set()
        self.worked = 0.0
        self.failed: list[str] = []
        self.held: list[list[str]] = []  # jobs that another process was making
        self._began = self.start

    def started(self, job: list[str]) -> None:
        self._began = time.monotonic()
        if job in self.held:
            return  # it was named before
        fresh = self.done - self.found
        left = f", about {_duration((self.total - self.done) * self.worked / fresh)} left" if fresh > 0 else ""
        counts = f"done {self.done}, running 1, failed {len(self.failed)}{left}"
        self._say(f"[{self.done + 1}/{self.total}] {self._shown(job)} ({counts})")

    def ended(self, job: list[str], outcome: JobReturn | Exception) -> bool:
        """Count and show how a job ended; False, and no count, where another process is making the run."""
        error = outcome if isinstance(outcome, Exception) else None
        if isinstance(outcome, JobReturn) and outcome.status != JobStatus.COMPLETED:
            error = outcome._return_value
        if error is not None:
            if isinstance(error, KeyboardInterrupt | SystemExit):
                raise error
            from diffect.errors import expected, sentence

            reason = sentence(error) if expected(error) else f"{type(error).__name__}: {sentence(error)}"
            self.failed.append(f"{self._shown(job)}: {reason}")
            self._say(f"    failed: {reason}")
            self.done += 1
            self.worked += time.monotonic() - self._began
            return True
        assert isinstance(outcome, JobReturn)
        result = outcome.return_value or {}
        if owner := result.get("held"):
            if job not in self.held:
                self.held.append(job)
                self._say(f"    {owner}; this sweep goes on with the others and comes back")
            return False
        if job in self.held:
            self._say(f"{self._shown(job)}:")
        self.done += 1
        if result.get("found"):
            self.found += 1
        else:
            self.worked += time.monotonic() - self._began
        self._say(f"    {result.get('line', 'done')}")
        return True

    def tally(self) -> None:
        good = self.done - len(self.failed)
        self._say(
            f"{good} of {self.total} runs finished ({self.found} found finished), {len(self.failed)} failed, "
            f"in {_duration(time.monotonic() - self.start)}"
        )

    def raise_failures(self) -> None:
        if self.failed:
            raise ValueError(f"{len(self.failed)} of {self.total} runs failed: " + "; ".join(self.failed))

    def _shown(self, job: list[str]) -> str:
        hidden = ("experiment=", "hydra.", "study=")
        return " ".join(part for part in job if part not in self.shared and not part.startswith(hidden))

    def _say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)


def grid(
    params: dict[str, Any], arguments: Sequence[str], config_loader: ConfigLoader | None = None
) -> list[list[str]]:
    """Every job's overrides: the product of the swept values. A key given on the command line replaces the file's.

    `config_loader` lists the choices of a group, which a glob(...) is one of.
    """
    parser = OverridesParser.create(config_loader)
    given = parser.parse_overrides(overrides=list(arguments))
    keys = {override.get_key_element() for override in given}
    filed = parser.parse_overrides(overrides=[f"{key}={value}" for key, value in params.items()])
    lists = []
    for override in [*(item for item in filed if item.get_key_element() not in keys), *given]:
        if override.is_sweep_override():
            key = override.get_key_element()
            lists.append([f"{key}={value}" for value in override.sweep_string_iterator()])
        else:
            lists.append([override.input_line or ""])
    return [list(job) for job in itertools.product(*lists)]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
