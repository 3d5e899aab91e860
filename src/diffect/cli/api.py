"""diffect.train: the command of the same name, called from Python."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffect.detector.detector import Detector


def train(overrides: Sequence[str] = ()) -> Detector:
    """Train one run in this process, as `diffect train OVERRIDES` does, and give its detector.

    Settings are checked in the same way, the run is written to the same folder, and a finished run is only loaded.
    ValueError for a sweep: it makes several detectors, see `diffect.load`.

    Args:
        overrides: such as ["data.category=brick", "seed=1"].
    """
    from hydra import compose, initialize_config_dir
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.types import RunMode

    from diffect.cli.launch import launch
    from diffect.config.files import config_folder
    from diffect.config.overrides import for_hydra
    from diffect.training.load import load

    if not isinstance(overrides, list | tuple) or not all(isinstance(one, str) for one in overrides):
        raise ValueError(f"overrides is {overrides!r}; it must be a list, such as ['data.category=brick', 'seed=1']")
    sweep = "diffect.train trains a single run; start a sweep with `diffect train`, and load its runs with diffect.load"
    if any(override in ("-m", "--multirun") for override in overrides):
        raise ValueError(sweep)
    given = for_hydra(overrides, "train")
    if any(override.is_sweep_override() for override in OverridesParser.create().parse_overrides(given)):
        raise ValueError(sweep)
    with initialize_config_dir(str(config_folder("train")), version_base="1.3"):
        composed = compose("train", given, return_hydra_config=True)
    if composed.hydra.mode == RunMode.MULTIRUN or composed.hydra.sweeper.get("params"):
        raise ValueError(sweep)
    return load(launch("train", overrides)["folder"])
