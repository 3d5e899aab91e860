"""The one entry point, `diffect <command> [overrides]`. A command is imported only when it is called."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

COMMANDS = {
    "train": "train and test a detector, or a whole sweep of them",
    "score": "score images with a finished run",
    "report": "tables and figures from logged runs",
    "data": "check, describe, audit or download a data set",
}

HELP = """diffect: anomaly detection with diffusion models, from photographs of good parts to the paper's tables

usage: diffect <command> [overrides]      overrides in Hydra's grammar: group=choice, key=value, -m for sweeps

{commands}

examples:
  diffect train data=mvtec data.root=/data/mvtec_ad data.category=bottle
  diffect train -m schedule=cosine,linear denoiser=conv,mlp seed=0,1 study=mine
  diffect report experiment=mine
  diffect train experiment=noise_schedules

`diffect <command> --help` lists that command's choices and keys."""


def config_folder(command: str) -> Path:
    """The folder of a command's config: conf/, inside the installed package or at the top of the checkout.

    Commands that read logged runs have conf/logged/ instead, where `experiment` is a plain string: with the group in
    sight Hydra would compose the experiment's sweep and launch the command once per job.
    """
    package = Path(__file__).parent
    shipped = package / "conf"
    conf = shipped if shipped.is_dir() else package.parents[1] / "conf"
    return conf / "logged" if (conf / "logged" / f"{command}.yaml").is_file() else conf


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it went well, 1 with one sentence on stderr if not, 2 for a wrong call."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        print(HELP.format(commands="\n".join(f"  {name:8} {what}" for name, what in COMMANDS.items())))
        return 0
    if given[0] == "--version":
        from diffect import __version__

        print(f"diffect {__version__}")
        return 0
    command, *overrides = given
    if command not in COMMANDS or find_spec(f"diffect.commands.{command}") is None:
        from difflib import get_close_matches

        near = get_close_matches(command, COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        print(
            f"diffect: there is no command {command!r}; there are {', '.join(COMMANDS)}{hint}",
            file=sys.stderr,
        )
        return 2
    try:
        launch(command, overrides)
    except KeyboardInterrupt:
        print(f"\ndiffect {command}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 1
    except Exception as error:
        if not expected(error):
            raise
        print(f"diffect {command}: {sentence(error)}", file=sys.stderr)
        return 1
    return 0


def launch(command: str, overrides: Sequence[str]) -> None:
    """Compose the command's config with Hydra and run it, once, or for every point of a sweep."""
    refuse_several_experiments(command, overrides)
    # Hydra then raises instead of printing and exiting, so that every command fails in the same way.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    import hydra
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf import DictConfig, OmegaConf

    def name_run(*, _root_: Any) -> str:
        from diffect.runs.signature import of

        return of(_root_)

    OmegaConf.register_new_resolver("signature", name_run, replace=True)

    failures: list[Exception] = []

    def task(cfg: DictConfig) -> Any:
        try:
            return import_module(f"diffect.commands.{command}").run(cfg)
        except Exception as error:
            if HydraConfig.get().mode == RunMode.MULTIRUN:
                raise  # the sweeper notes it and goes on
            failures.append(error)  # raised below: Hydra would print its own account of it first
            return None

    before = sys.argv
    # Hydra's parser wants its flag before the overrides; a user may put it anywhere.
    flags = [value for value in overrides if value in ("-m", "--multirun")][:1]
    sys.argv = [f"diffect {command}", *flags, *(value for value in overrides if value not in ("-m", "--multirun"))]
    try:
        hydra.main(version_base="1.3", config_path=str(config_folder(command)), config_name=command)(task)()
    finally:
        sys.argv = before
    if failures:
        raise failures[0]


def refuse_several_experiments(command: str, overrides: Sequence[str]) -> None:
    """Two experiments in one launch would lose both sweeps silently (Hydra merges one sweep per launch)."""
    if command != "train":
        return
    chosen = [value for value in overrides if re.match(r"[+~]*experiment=", value)]
    if len(chosen) > 1 or any(re.search(r"[,\[(]", value) for value in chosen):
        raise ValueError(f"one experiment per launch: found {' '.join(chosen)}; launch each by itself")


def expected(error: BaseException) -> bool:
    """Whether an error is the user's to mend: it is then told as a sentence, without a traceback."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    return isinstance(error, ValueError | OSError | HydraException | OmegaConfBaseException)


def sentence(error: BaseException) -> str:
    """The error's message on one line; `instantiate` wraps the real one, so the innermost ValueError speaks."""
    from hydra.errors import InstantiationException

    while isinstance(error, InstantiationException) and error.__cause__ is not None:
        error = error.__cause__
    text = str(error) or type(error).__name__
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename or 'a file'}: {error.strerror}"
    missing = re.search(r"Key '([^']*)' is not in struct", text)
    if missing:
        full = re.search(r"full_key: (\S+)", text)
        text = f"unknown config key {full.group(1) if full else missing.group(1)}; `--cfg job` shows those there are"
    mandatory = re.search(r"Missing mandatory value: (\S+)", text)
    if mandatory:
        text = f"{mandatory.group(1)} has no value; give it as {mandatory.group(1)}=..."
    return re.sub(r"\s+", " ", text).strip()


if __name__ == "__main__":
    sys.exit(main())
