"""The name of a run: a hash of all that can change one of its numbers, and of nothing else; imports no torch."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import Any

from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

import diffect
from diffect.config import settings as sections
from diffect.config import static
from diffect.config.inert import DISPLAYED
from diffect.config.types import DISPLAY, FILE, PLACE
from diffect.config.validate import Setting, settings
from diffect.data import regions
from diffect.data.added import AddedFolder
from diffect.data.sample import Samples, data_fingerprint
from diffect.data.sources.defect_folder import DefectFolder
from diffect.runs import record_file
from diffect.storage.digests import file_digests

_LIBRARIES = ("diffect", "pytorch_lightning", "torch", "torchmetrics", "diffusers")
"""Packages whose versions name their code; the source text of all others counts."""


def of(cfg: DictConfig) -> str:
    """12 hex digits of SHA-256 over the config's values, the data, the weights, the code and the version.

    Values that are marked `Place` or `Display` do not count, nor do names of files, whose content does. Data that
    cannot be read have no fingerprint: the run still gets a name, and fails with the reason when it starts.
    """
    given = _given(cfg)
    values = changing(given)
    if cfg.finetune_from is not None:
        values["finetune_from"] = _name_of_run(Path(str(cfg.finetune_from)).expanduser())
    defects = DefectFolder.of(cfg.data.get("contamination", 0), cfg.data.get("contamination_from"))
    if defects is not None:
        values["data.contamination_from"] = "a folder"  # whose content counts, with the data
    added = AddedFolder.of(cfg.data.get("added"))
    if added is not None:
        values["data.added"] = "a folder"
    values |= {key: regions.content(values[key]) for key in ("data.look_at", "data.ignore") if key in values}
    targets = sorted({str(setting.value) for setting in given if setting.key.endswith("._target_")})
    return digest([values, _data(cfg, [defects, added]), _weights(given, targets), _code(targets), diffect.__version__])


def without_effect(cfg: DictConfig) -> list[str]:
    """The keys at and below which no value can change a number: names, places and displays."""
    given = _given(cfg)
    counted = {"finetune_from", *changing(given), *(one.key for one in given if one.marked(FILE))}
    above = {part for key in counted for part in _parts(key)}
    return sorted(
        {next(part for part in _parts(one.key) if part not in above) for one in given if one.key not in above}
    )


def _given(cfg: DictConfig) -> list[Setting]:
    """All values of a config, without Hydra's own."""
    shown = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    return list(settings(OmegaConf.to_container(shown, resolve=True), section_of(cfg)))


def _parts(key: str) -> Iterator[str]:
    """`a`, `a.b` and `a.b.c` of the key `a.b.c`."""
    return accumulate(key.split("."), "{}.{}".format)


def section_of(cfg: DictConfig) -> type[sections.Train]:
    """The keys of a command's config: those of tune where the config has them, else those of train."""
    return sections.Tune if "tune" in cfg else sections.Train


def changing(given: list[Setting]) -> dict[str, Any]:
    """The values, by key, that can change a number."""
    unmarked = (one for one in given if not any(map(one.marked, (PLACE, DISPLAY, FILE))))
    shown = {f"trainer.{name}" for name in DISPLAYED}
    return {one.key: one.value for one in unmarked if not any(f"{one.key}.".startswith(f"{key}.") for key in shown)}


def digest(content: Any) -> str:
    """12 hex digits of SHA-256 over what JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def _name_of_run(folder: Path) -> str:
    """The signature of the run in a folder: wherever it lies, it is the same run. A run that is none fails later."""
    try:
        return record_file.read(folder / record_file.RECORD).signature
    except ValueError:
        return str(folder)


def _data(cfg: DictConfig, others: Sequence[Samples | None]) -> list[str]:
    """What names the data that a run trains and tests on; "unreadable" where it cannot be read."""
    try:
        source = instantiate(cfg.data.source)
        chosen = cfg.data.get("category", "all")
        names = source.categories() if chosen == "all" else [chosen] if isinstance(chosen, str) else list(chosen)
        return [data_fingerprint(one, names) for one in (source, *others) if one is not None]
    except (ValueError, OSError, InstantiationException) as error:
        cause = error.__cause__ if isinstance(error, InstantiationException) else error
        if not isinstance(cause, ValueError | OSError):
            raise
        return ["unreadable"]


def _weights(given: list[Setting], targets: list[str]) -> list[str]:
    """Hashes of the files and folders that the config names, and of the packages that a class names as its `weights`.

    What does not exist counts by its name: it is that of a model on a hub, or fails later, with a sentence.
    """
    named = [str(one.value) for one in given if one.marked(FILE) and one.value is not None]
    packages = [name for target in targets for name in static.constant(target, "weights") or ()]
    files = [file for name in named for file in _files(Path(name).expanduser())]
    files += [file for package in packages for file in _package_files(package)]
    return [*file_digests(files), *(name for name in named if not Path(name).expanduser().exists())]


def _package_files(package: str) -> list[Path]:
    spec = find_spec(package)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    return [file for folder in folders for file in _files(Path(folder)) if "__pycache__" not in file.parts]


def _files(path: Path) -> list[Path]:
    """A file alone, or all files below a folder; none where nothing exists."""
    return [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())


def _code(targets: list[str]) -> Mapping[str, str]:
    """The hash of each module from outside that a run is made of: those of its classes, and what they import."""
    modules: dict[str, static.Module] = {}
    for target in targets:
        if target.split(".")[0] not in _LIBRARIES and (definition := static.find(target)) is not None:
            _collect(definition.module, modules)
    return {name: hashlib.sha256(module.text.encode()).hexdigest() for name, module in modules.items()}


def _collect(module: static.Module, modules: dict[str, static.Module]) -> None:
    """The module and all modules of its package that it imports, directly or not."""
    if module.name in modules:
        return
    modules[module.name] = module
    for name in _imported(module):
        if name.split(".")[0] == module.name.split(".")[0] and (other := static.read(name)) is not None:
            _collect(other, modules)


def _imported(module: static.Module) -> Iterator[str]:
    for source, there in module.imports.values():
        yield source
        if there is not None:
            yield f"{source}.{there}"  # a module, where it is one
