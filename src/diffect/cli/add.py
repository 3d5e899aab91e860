"""diffect add: a new run from a finished one and more normal images."""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from diffect.cli import train
from diffect.config import settings, validate
from diffect.runs import record_file
from diffect.training import fingerprint


def run(cfg: DictConfig) -> None:
    """Train as the finished run was trained, on its normal images and those of `images`; print the new run's figures.

    The new run lies beside the old one, and its record names it. Images that the old run had keep their splits, and
    their features come from the cache. What is solved at once is solved again; what learns by steps starts from the
    weights of the old run.

    Raises:
        ValueError: there is no finished run, or the images do not fit it.
    """
    validate.check(cfg, settings.Add)
    old, parent = record_file.finished_run("run", cfg.run)
    images = str(Path(cfg.images).expanduser().absolute())
    data = parent.config["data"]
    if data.get("added") is not None:
        raise ValueError(
            f"run is {old}, to which {data['added']} was added; put all images to add into one folder, and add it to "
            f"run {parent.parent}"
        )
    learned = "training" in parent.description
    changes = {"data": data | {"added": images}} | ({"finetune_from": str(old)} if learned else {})
    config = OmegaConf.create(parent.config | changes)
    train.check(config)
    folder = old.parent / fingerprint.of(config)
    chosen = parent.choices | {"data.added": images}
    record, found = train.made(config, folder, chosen, parent=parent.signature)
    train.show(record, folder, found)
