"""The signature of a run before it is made: from its config and from what its data are."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from diffect.data.sample import data_fingerprint
from diffect.data.sources.defect_folder import DefectFolder
from diffect.runs import record_file
from diffect.runs.fingerprint import signature


def of(cfg: DictConfig) -> str:
    """The signature of a composed `train` config; the data source answers for the data, without decoding any.

    Data that cannot be read have no fingerprint: the run still gets a name, and fails with the reason when it starts.
    """
    config = OmegaConf.to_container(
        OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"]), resolve=True
    )
    assert isinstance(config, dict)
    if config.get("finetune_from") is not None:
        config["finetune_from"] = _name(Path(str(config["finetune_from"])).expanduser())
    if _defects(cfg) is not None:
        config["data"]["contamination_from"] = "a folder"  # the fingerprint says what is in it
    return signature({str(key): value for key, value in config.items()}, _fingerprint(cfg))


def _name(folder: Path) -> str:
    """The signature of the run in a folder: wherever it lies, it is the same run. A run that is none fails later."""
    try:
        return record_file.read(folder / record_file.RECORD).signature
    except ValueError:
        return str(folder)


def _fingerprint(cfg: DictConfig) -> str:
    """What names the data that a config trains and tests on, or "unreadable"."""
    from hydra.utils import instantiate

    try:
        source = instantiate(cfg.data.source)
        chosen = cfg.data.category
        names = source.categories() if chosen == "all" else [chosen] if isinstance(chosen, str) else list(chosen)
        sources = [source, *([_defects(cfg)] if _defects(cfg) else [])]
        return " ".join(data_fingerprint(one, names) for one in sources)
    except Exception:
        return "unreadable"


def _defects(cfg: DictConfig) -> DefectFolder | None:
    return DefectFolder.of(cfg.data.get("contamination", 0), cfg.data.get("contamination_from"))
