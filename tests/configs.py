"""Configs as the commands compose them, each combination once in a process: it takes a tenth of a second."""

import copy
import functools
from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from diffect.config.files import config_folder


def composed(command: str, *overrides: str, **options: Any) -> DictConfig:
    """A copy of the config, which a test may change."""
    return copy.deepcopy(_composed(command, *overrides, **options))


@functools.cache
def _composed(command: str, *overrides: str, **options: Any) -> DictConfig:
    with initialize_config_dir(str(config_folder(command)), version_base="1.3"):
        return compose(command, list(overrides), **options)
