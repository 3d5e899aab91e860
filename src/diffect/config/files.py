"""Where the config files are, and which choices of which groups have a key."""

from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

import diffect


def config_folder(command: str) -> Path:
    """The folder of a command's config: conf/, inside the installed package or at the top of the checkout.

    Commands that read logged runs have conf/logged/ instead, where `experiment` is a plain string: as a group it would
    make Hydra start the command once for each job of the experiment's sweep.
    """
    package = Path(diffect.__file__).parent
    shipped = package / "conf"
    conf = shipped if shipped.is_dir() else package.parents[1] / "conf"
    return conf / "logged" if (conf / "logged" / f"{command}.yaml").is_file() else conf


def command_for(study: str) -> str:
    """The command that makes the runs of a study: its experiment where one ships, or else any run with that name."""
    shipped = (config_folder("train") / "experiment" / f"{study}.yaml").is_file()
    return f"diffect train experiment={study}" if shipped else f"diffect train study={study} ..."


def owners(key: str) -> list[str]:
    """The choices, as GROUP=NAME, whose files have this key."""
    conf = config_folder("train")
    group, _, rest = key.partition(".")
    found = []
    for path in sorted((conf / group).rglob("*.yaml")):
        config, inner = OmegaConf.load(path), path.parent.relative_to(conf / group)
        if isinstance(config, DictConfig) and rest in _leaves(config, "".join(f"{part}." for part in inner.parts)):
            # A choice of the group with the name of the nested one includes it: denoiser=conv, denoiser/network=conv.
            include = (conf / group / path.name).is_file()
            found.append(f"{group if include else (Path(group) / inner).as_posix()}={path.stem}")
    return found


def _leaves(config: DictConfig, before: str = "") -> Iterator[str]:
    for key in map(str, config):
        yield f"{before}{key}"
        if OmegaConf.is_interpolation(config, key) or OmegaConf.is_missing(config, key):
            continue
        if isinstance(config[key], DictConfig):
            yield from _leaves(config[key], f"{before}{key}.")
