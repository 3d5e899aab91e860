"""From `diffect <command> [overrides]` to Hydra, once or for every point of a sweep."""

import ctypes
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from diffect.config.files import config_folder
from diffect.config.overrides import for_hydra
from diffect.errors import sentence
from diffect.storage.caches import settle_libraries
from diffect.storage.lock import HeldError


def _name_run(*, _root_: Any) -> str:
    from diffect.cli.train import check
    from diffect.training.fingerprint import of

    try:
        check(_root_)
        return of(_root_)
    except InstantiationException as error:  # its cause would be lost on the way
        raise ValueError(sentence(error)) from error


# At import, so that workers of other launchers (joblib, submitit) have it as soon as they unpickle a Command.
OmegaConf.register_new_resolver("signature", _name_run, replace=True)


GIBIBYTE = 1 << 30


class Command:
    """What Hydra calls for each job: the command's `run(cfg)`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.failure: Exception | None = None
        self.result: Any = None  # of a single job

    def check(self, cfg: DictConfig) -> None:
        """ValueError for a config that the command cannot run."""
        import_module(f"diffect.cli.{self.name}").check(cfg)

    def __call__(self, cfg: DictConfig) -> Any:
        keep_freed_memory()
        try:
            self.result = import_module(f"diffect.cli.{self.name}").run(cfg)
            return self.result
        except HeldError as owner:
            return {"held": f"it is being made by {owner}"}  # the sweep comes back to it
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise  # the sweeper notes it and goes on
            self.failure = error  # raised by `launch`: Hydra would print its own account of it first
            return None


def launch(name: str, overrides: Sequence[str]) -> Any:
    """Compose the command's config with Hydra and run it, once (gives its result), or for every point of a sweep."""
    if name in ("train", "tune"):
        _refuse_several_experiments(overrides)
    settle_libraries()
    # Hydra then raises instead of printing and exiting, so that every command fails in the same way.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    # Threads that wait by spinning made training ten times slower whenever something else ran on the machine. Read
    # when torch is loaded, which no command does before this.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Hydra's parser wants its flag before the overrides; a user may put it anywhere.
    sweeping = [value for value in overrides if value in ("-m", "--multirun")]
    rest = [value for value in overrides if value not in ("-m", "--multirun")]
    if "--shell-completion" not in rest:  # whose words are no overrides
        rest = for_hydra(rest, name)
    command = Command(name)
    before, sys.argv = sys.argv, [f"diffect {name}", *sweeping[:1], *rest]
    try:
        hydra.main(version_base="1.3", config_path=str(config_folder(name)), config_name=name)(command)()
    finally:
        sys.argv = before
    if command.failure is not None:
        raise command.failure
    return command.result


def keep_freed_memory() -> None:
    """Make glibc keep freed blocks of up to 1 GiB for the next batch; a user's own MALLOC_ variables stand.

    By default it returns each to the system and fetches it again page by page, which takes longer than the arithmetic
    of a backbone. Elsewhere than on Linux with glibc this does nothing.
    """
    if "CS_GNU_LIBC_VERSION" not in getattr(os, "confstr_names", ()) or any(
        name[:7] == "MALLOC_" for name in os.environ
    ):
        return
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    mallopt = ctypes.CDLL(None).mallopt
    # Older versions refuse so high a threshold for mmap (0); the other alone would make things worse.
    if mallopt(mmap_threshold, GIBIBYTE):
        mallopt(trim_threshold, GIBIBYTE)


def _refuse_several_experiments(overrides: Sequence[str]) -> None:
    """Two experiments in one launch would lose both sweeps silently (Hydra merges one sweep per launch)."""
    chosen = [value for value in overrides if re.match(r"[+~]*experiment=", value)]
    if len(chosen) > 1 or any(re.search(r"[,\[(]", value) for value in chosen):
        raise ValueError(f"one experiment per launch: found {' '.join(chosen)}; start each separately")
