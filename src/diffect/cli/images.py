"""The images that a command is to judge: named, of known categories, and each a file that can be read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig

from diffect.data import decode
from diffect.data.sources.folders import EXTENSIONS

BLIND = "none"  # as a category: scored without telling any


class Asked(NamedTuple):
    """An image to judge; `label` is None for class-blind."""

    name: str
    label: int | None
    path: Path


def asked(cfg: DictConfig, trained: DictConfig, categories: list[str]) -> list[Asked]:
    """Those of `images`, or the run's own test images, with labels; a ValueError if one is no image."""
    label = _label(cfg, categories)
    found = _own(trained, cfg.category, label) if cfg.images is None else _given(cfg, categories, label)
    for image in found:
        decode.size_of(image.path)
    return found


def _label(cfg: DictConfig, categories: list[str]) -> int | None:
    """That of the category which was named, or of the only one; 0 where none was named, None for class-blind."""
    named = cfg.category
    if named is None:
        return 0
    if named == BLIND and BLIND not in categories:
        return None if len(categories) > 1 else 0
    if named not in categories:
        raise ValueError(
            f"category is {named}, which training never saw; it saw {', '.join(categories)} (or category={BLIND}, to "
            "score class-blind)"
        )
    return categories.index(named)


def _own(trained: DictConfig, named: str | None, label: int | None) -> list[Asked]:
    """The run's own test images, those of the category that was named, or all, class-blind or with their labels."""
    from diffect.training.build import open_data

    data = open_data(trained)
    found: list[Asked] = []
    for part, row in data.splits["test"]:
        sample = data.sample(part, row)
        own = data.categories.index(sample.category)
        if sample.path is None:
            raise ValueError(f"the test sample {sample.name} is no file: only image files can be scored")
        if named is None or label in (None, own):
            found.append(Asked(f"{sample.category}/{sample.name}", None if label is None else own, sample.path))
    return found


def _given(cfg: DictConfig, categories: list[str], label: int | None) -> list[Asked]:
    """The images that were asked for."""
    place = Path(str(cfg.images)).expanduser()
    if len(categories) > 1 and cfg.category is None:
        raise ValueError(
            f"category is not set; this run holds several, say which: {', '.join(categories)} (or category={BLIND}, "
            "to score class-blind)"
        )
    if place.is_file():
        return [Asked(place.name, label, place)]
    if not place.is_dir():
        raise ValueError(f"images is {place}: there is no such file or folder")
    paths = sorted(path for path in place.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not paths:
        raise ValueError(f"images is {place}: it holds no image ({', '.join(EXTENSIONS)})")
    return [Asked(path.relative_to(place).as_posix(), label, path) for path in paths]
