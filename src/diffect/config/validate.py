"""A composed config against the annotations of what it makes: wrong values and unknown keys, in one sentence."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from diffect.config import static
from diffect.config.check import check_value, takes_part
from diffect.config.files import owners
from diffect.config.settings import Section
from diffect.config.types import SUPPLIED, Mark, Part
from diffect.errors import suggest


@dataclass(frozen=True)
class Setting:
    """A key of the config in full, its value, and the annotations on the way to it, its own at the end."""

    key: str
    value: Any
    annotations: tuple[Any, ...]

    def marked(self, mark: Mark) -> bool:
        """Whether the value, or a part of the config that holds it, has the mark."""
        return any(mark in metadata(annotation) for annotation in self.annotations)


def check(cfg: DictConfig, section: type[Section]) -> None:
    """ValueError for the first key that has no value, is unknown, or holds what its annotation does not allow."""
    shown = OmegaConf.masked_copy(cfg, [str(key) for key in cfg if key != "hydra"])
    if missing := sorted(OmegaConf.missing_keys(shown)):
        raise ValueError(f"{missing[0]} has no value; give it as {missing[0]}=...")
    # A value that several keys refer to is wrong where it was written, so those that only refer to it come last.
    for resolve in (False, True):
        for setting in settings(OmegaConf.to_container(shown, resolve=resolve), section):
            if resolve or not (isinstance(setting.value, str) and "${" in setting.value):
                _check(setting)


def settings(config: Any, section: type[Section]) -> Iterator[Setting]:
    """The values of a config, down to those that hold no others; ValueError for an unknown key or class."""
    hints = get_type_hints(section, include_extras=True)
    return _of_mapping(config, {name: static.Parameter(hint, True) for name, hint in hints.items()}, "", ())


def _check(setting: Setting) -> None:
    annotation, value = setting.annotations[-1], setting.value
    if takes_part(annotation) and isinstance(value, dict) and value:
        raise ValueError(_unknown(f"{setting.key}.{next(iter(value))}", ()))  # set in what was not chosen
    check_value(setting.key, value, annotation)


def _of_mapping(
    node: Mapping[str, Any], taken: Mapping[str, static.Parameter] | None, prefix: str, above: tuple[Any, ...]
) -> Iterator[Setting]:
    for name, value in node.items():
        key = f"{prefix}{name}"
        if name.startswith("_"):  # Hydra's: _target_, _partial_, ...
            yield Setting(key, value, (*above, Any))
        elif taken is None:
            yield from settings_below(key, value, (*above, Any))
        elif name in taken and SUPPLIED not in metadata(taken[name].annotation):
            yield from settings_below(key, value, (*above, taken[name].annotation))
        else:
            raise ValueError(_unknown(key, [f"{prefix}{known}" for known in taken]))


def settings_below(key: str, value: Any, annotations: tuple[Any, ...]) -> Iterator[Setting]:
    """The values of a key and of all keys below it.

    Args:
        key: of the config.
        value: of the key.
        annotations: of the keys that lead to it; its own is the last.
    """
    annotation = annotations[-1]
    plain = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    open_ended = annotation is Any or takes_part(annotation)
    if isinstance(plain, type) and issubclass(plain, Section) and isinstance(value, dict):
        for setting in settings(value, plain):
            yield Setting(f"{key}.{setting.key}", setting.value, (*annotations, *setting.annotations))
    elif isinstance(value, dict) and "_target_" in value and open_ended:
        yield from _of_mapping(value, _taken(key, str(value["_target_"])), f"{key}.", annotations)
    elif isinstance(value, dict) and (annotation is Any or get_origin(plain) is Mapping):
        item = Any if annotation is Any else get_args(plain)[1]
        for name, inner in value.items():
            yield from settings_below(f"{key}.{name}", inner, (*annotations, item))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value) and open_ended:
        for number, inner in enumerate(value):
            yield from settings_below(
                f"{key}[{number}]", inner, (*annotations, Part if takes_part(annotation) else Any)
            )
    else:
        yield Setting(key, value, annotations)


def _taken(key: str, target: str) -> Mapping[str, static.Parameter] | None:
    package = target.split(".")[0]
    if find_spec(package) is None:
        raise ValueError(f"{key}._target_ is {target}, but no package {package} is installed")
    if static.find(target) is None and static.read(target.rpartition(".")[0]) is not None:
        raise ValueError(f"{key}._target_ is {target}, but {target.rpartition('.')[0]} defines no such name")
    return static.parameters(target)


def _unknown(key: str, known: Iterator[str] | list[str] | tuple[str, ...]) -> str:
    if found := owners(key):
        return f"{key} belongs to {' or '.join(found)}; add {found[0]}"
    return f"there is no config key {key}{suggest(key, known) or '; `--help` lists those there are'}"


def metadata(annotation: Any) -> tuple[Any, ...]:
    """What `Annotated` adds to a type."""
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
