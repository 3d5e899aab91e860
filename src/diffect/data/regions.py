"""Which part of each image is looked at: mask pictures or rectangles, for all images, a category or each image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from diffect.config.types import TEXT
from diffect.data import decode
from diffect.data.canvas import MisfitError
from diffect.data.sample import Sample
from diffect.data.sources.folders import EXTENSIONS
from diffect.storage.digests import file_digest, file_digests

Rectangle = tuple[int, int, int, int]  # left, top, width, height

Region = Annotated[Any, TEXT]  # checked by `Regions`, whose errors name the image
FORMS = (
    "a mask picture, a folder of them, a rectangle [left, top, width, height] of whole numbers from 0 on, a list of "
    "rectangles, or a mapping from categories to these"
)


@dataclass(frozen=True)
class Regions:
    """The pixels of photographs that are learned and scored: all in `look_at` that are not in `ignore`.

    Each is one of
    - a mask picture of the image's size, in which what is not black is the region;
    - a folder of such pictures, CATEGORY.png for a category or CATEGORY/NAME for an image, such as
      bottle/test/good/003.png; NAME alone for new images;
    - rectangles, in pixels of the photograph;
    - a mapping from categories to one of these.

    None stands for the whole image in `look_at`, and for nothing in `ignore`; so does a category or an image that the
    mapping or the folder leaves out.

    Args:
        look_at: the region that counts.
        ignore: the region that does not.
        key: of the config above the two, for errors.
    """

    look_at: Any = None
    ignore: Any = None
    key: str = field(default="data.", compare=False)

    def check(self) -> Regions:
        """The regions; ValueError where one is no region, or names no file."""
        for key, given in self._given():
            for one in given.values() if isinstance(given, Mapping) else [given]:
                if isinstance(one, str | Path):
                    if not Path(one).expanduser().exists():
                        raise ValueError(f"{key} is {one}: there is no such file or folder")
                elif not _rectangles(one):
                    raise ValueError(f"{key} is {one}; it must be {FORMS}")
        return self

    def __bool__(self) -> bool:
        return bool(self._given())

    def of(self, category: str | None, name: str, size: Sequence[int]) -> NDArray[np.bool_] | None:
        """Where an image of this size is looked at, (H, W); None for everywhere.

        ValueError where a region does not fit the image, or leaves nothing of it.
        """
        kept = np.ones(tuple(size), np.bool_)
        for key, given in self._given():
            chosen = _chosen(given, category, name)
            if chosen is not None:
                region = _drawn(chosen, kept.shape, f"{key} of the image {name}")
                kept &= region if key.endswith("look_at") else ~region
        if not kept.any():
            raise MisfitError(f"{' and '.join(key for key, _ in self._given())} leaves nothing of the image {name}")
        return None if kept.all() else kept

    def apply(self, sample: Sample) -> Sample:
        """The sample with its region, which its version names too; as it is without any."""
        if not self:
            return sample
        category, name = sample.category, sample.name

        def version() -> str:
            chosen = [_chosen(given, category, name) for _, given in self._given()]
            given = [file_digest(one) if isinstance(one, Path) else one for one in chosen]
            return f"{sample.version()} without {given}"

        return replace(sample, load_region=lambda: self.of(category, name, sample.size()), load_version=version)

    def _given(self) -> list[tuple[str, Any]]:
        """The keys that are set, with their values."""
        pairs = ((f"{self.key}{name}", getattr(self, name)) for name in ("look_at", "ignore"))
        return [(key, value) for key, value in pairs if value is not None]


def content(given: Any) -> Any:
    """A setting of `Regions` with the hashes of mask pictures in place of their paths."""
    if isinstance(given, Mapping):
        return {name: content(one) for name, one in given.items()}
    if not isinstance(given, str):
        return given
    place = Path(given).expanduser()
    files = sorted(path for path in (place.rglob("*") if place.is_dir() else [place]) if path.is_file())
    return [
        [path.relative_to(place).as_posix(), digest] for path, digest in zip(files, file_digests(files), strict=True)
    ]


def _chosen(given: Any, category: str | None, name: str) -> Path | list[Rectangle] | None:
    """The mask picture or the rectangles for one image, if there are any."""
    if isinstance(given, Mapping):
        given = given.get(category)
    if given is None or not isinstance(given, str | Path):
        return None if given is None else _rectangles(given)
    place = Path(given).expanduser()
    if not place.is_dir():
        return place
    stem = Path(name).with_suffix("")
    stems = [place / stem] if category is None else [place / category / stem, place / stem, place / category]
    tried = (above.with_name(above.name + ending) for above in stems for ending in EXTENSIONS)
    return next((path for path in tried if path.is_file()), None)


def _rectangles(given: Any) -> list[Rectangle]:
    """Rectangles from one or several of them; none where it is no such thing."""
    if not isinstance(given, Sequence) or not given:
        return []
    several = given if isinstance(given[0], Sequence) else [given]
    fits = all(
        isinstance(one, Sequence) and len(one) == 4 and all(type(edge) is int and edge >= 0 for edge in one)
        for one in several
    )
    return [(one[0], one[1], one[2], one[3]) for one in several] if fits else []


def _drawn(chosen: Path | list[Rectangle], size: Sequence[int], what: str) -> NDArray[np.bool_]:
    """A region as a mask (H, W)."""
    height, width = size
    if isinstance(chosen, Path):
        try:
            return decode.read_mask(chosen, width, height).astype(np.bool_)
        except ValueError as error:
            raise MisfitError(f"{what}: {error}") from error
    mask = np.zeros((height, width), np.bool_)
    for left, top, across, down in chosen:
        if left + across > width or top + down > height:
            raise MisfitError(
                f"{what} has the rectangle [{left}, {top}, {across}, {down}], which reaches beyond the image of "
                f"{width} x {height} pixels; rectangles are [left, top, width, height]"
            )
        mask[top : top + down, left : left + across] = True
    return mask
