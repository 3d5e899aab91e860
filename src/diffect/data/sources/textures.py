"""The built-in data: three categories made from the real textures in scikit-image's wheel."""

import hashlib
import importlib.util
import json
import logging
import shutil
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Annotated

import numpy as np
from annotated_types import Interval
from numpy.typing import NDArray
from PIL import Image

from diffect.config.check import checked
from diffect.config.types import NonNegativeInt, Place
from diffect.data import decode
from diffect.data.sample import GOOD, IMAGE, Kind, Sample, Source
from diffect.data.sources import texture_defects
from diffect.data.sources.mvtec import Folder
from diffect.storage.atomic import replacing
from diffect.storage.caches import CURE, cache_root

logger = logging.getLogger(__name__)

VERSION = 2  # of the recipe; raise it when a pixel changes
PICTURES = ("brick", "grass", "gravel")
Grey = NDArray[np.uint8]  # (H, W)
ROOM = 9 / 8  # side of a region, in sides of a crop, at least


@checked
class Textures(Source):
    """Crops of brick, grass and gravel (512 x 512, grey), with synthetic defects and exact masks.

    Each picture is divided into square regions (7 by 7 for crops of 64 pixels). No crop reaches over the edge of its
    region, and the region is the crop's group: so fit, selection, calibration and test have no pixel in common. Every
    third region along each row and column is for test, so that where the light or the view changes over the picture,
    test crops have training crops around them. Normal and defective test crops come from the same regions.

    A folder in MVTec AD layout is written once into the cache and then read as any other.

    Args:
        seed: of positions and defects.
        size: side of a crop in pixels.
        train, good, defective: crops per category for training, normal test images, and test images of each defect.
        cache: the folder to write into, None for `cache_root()`.
    """

    kind: Kind = IMAGE  # type: ignore[assignment]

    def __init__(
        self,
        seed: NonNegativeInt = 0,
        size: Annotated[int, Interval(ge=32, le=160)] = 64,
        train: Annotated[int, Interval(ge=2, le=4096)] = 64,
        good: Annotated[int, Interval(ge=1, le=1024)] = 16,
        defective: Annotated[int, Interval(ge=1, le=1024)] = 6,
        cache: Place[str | Path | None] = None,
    ) -> None:
        self.seed, self.size = seed, size
        self.train, self.good, self.defective = train, good, defective
        self._cache = cache_root() if cache is None else Path(cache).expanduser()
        self._written: Path | None = None

    def describe(self) -> str:
        """What the crops show."""
        return (
            f"crops of {self.size} by {self.size} pixels from the textures of scikit-image [@vanderwalt2014skimage], "
            f"the defective ones with synthetic defects ({', '.join(texture_defects.DEFECTS)}); no two splits have a "
            "pixel in common"
        )

    def categories(self) -> list[str]:
        """brick, grass, gravel."""
        return list(PICTURES)

    def samples(self, category: str) -> list[Sample]:
        """All samples of one category, from the folder, which is written first where it is missing.

        The group is the region that a crop comes from, the last part of its file's name.
        """
        samples = Folder(self.folder()).samples(category)
        return [replace(sample, group=sample.name.removesuffix(".png").split("_")[-1]) for sample in samples]

    def fingerprint(self, category: str) -> str:
        """Hex SHA-256 over the recipe's version, its parameters and the category's picture file."""
        return hashlib.sha256(f"{self._recipe()} {_picture_file(category).name}".encode()).hexdigest()

    def folder(self) -> Path:
        """The folder in MVTec AD layout; written again when a file of it is missing or changed."""
        if self._written is not None:
            return self._written
        root = self._cache / "textures" / hashlib.sha256(self._recipe().encode()).hexdigest()[:16]
        if root.is_dir():
            if _intact(root):
                self._written = root
                return root
            logger.warning("the textures in %s were changed; they are written again", root)
        try:
            with replacing(root, CURE) as temporary:
                for category in PICTURES:
                    self._write(category, temporary / category)
                _seal(temporary)
                if root.is_dir() and not _intact(root):
                    shutil.rmtree(root, ignore_errors=True)
        except ValueError:
            # A folder is not replaced by another one: a second process may have written the same bytes first.
            if not _intact(root):
                raise
        self._written = root
        return root

    def _recipe(self) -> str:
        sources = [hashlib.sha256(_picture_file(name).read_bytes()).hexdigest() for name in PICTURES]
        parameters = [self.seed, self.size, self.train, self.good, self.defective]
        return json.dumps({"version": VERSION, "parameters": parameters, "sources": sources})

    def _write(self, category: str, folder: Path) -> None:
        """One category, with one generator for each kind of image, so that counts do not shift the others."""
        picture = decode.read_image(_picture_file(category))[..., 0]
        train, test = _regions(picture, self.size)
        index = PICTURES.index(category)

        def rng(kind: int) -> np.random.Generator:
            return np.random.Generator(np.random.PCG64([self.seed, index, kind]))

        for name, crop in _crops(train, self.size, self.train, rng(0)):
            _save(folder / "train" / GOOD / f"{name}.png", crop)
        for name, crop in _crops(test, self.size, self.good, rng(1)):
            _save(folder / "test" / GOOD / f"{name}.png", crop)
        for number, kind in enumerate(texture_defects.DEFECTS):
            generator = rng(2 + number)
            for name, crop in _crops(test, self.size, self.defective, generator):
                image, mask = texture_defects.apply(kind, crop, generator)
                _save(folder / "test" / kind / f"{name}.png", image)
                _save(folder / "ground_truth" / kind / f"{name}_mask.png", mask * np.uint8(255))


def _regions(
    picture: NDArray[np.uint8], size: int
) -> tuple[dict[str, NDArray[np.uint8]], dict[str, NDArray[np.uint8]]]:
    """Regions of a square picture for training and for test, by name; two by two at least."""
    count = max(2, int(len(picture) / (ROOM * size)))
    edges = [round(place * len(picture) / count) for place in range(count + 1)]
    train, test = dict[str, Grey](), dict[str, Grey]()
    for row, column in product(range(count), repeat=2):
        region = picture[edges[row] : edges[row + 1], edges[column] : edges[column + 1]]
        (train if (row + column) % 3 else test)[f"r{row}c{column}"] = region
    return train, test


def _crops(regions: dict[str, Grey], size: int, count: int, rng: np.random.Generator) -> Iterator[tuple[str, Grey]]:
    """(number and region, square crop); as many of each region as of any other, or one more.

    Within a region tops and lefts are stratified, so that its crops differ and cover it.
    """
    names = sorted(regions)
    share, rest = divmod(count, len(names))
    more = set(rng.permutation(names)[:rest].tolist())
    number = 0
    for name in names:
        n = share + (name in more)
        steps = zip(range(n), rng.permutation(n).tolist(), strict=True)
        for step in steps:
            top, left = (
                int((place + rng.random()) / n * (side - size + 1))
                for place, side in zip(step, regions[name].shape, strict=True)
            )
            yield f"{number:03d}_{name}", regions[name][top : top + size, left : left + size]
            number += 1


def _picture_file(name: str) -> Path:
    package = importlib.util.find_spec("skimage")
    folders = [] if package is None else list(package.submodule_search_locations or [])
    for folder in folders:
        if (path := Path(folder) / "data" / f"{name}.png").is_file():
            return path
    raise ValueError(f"scikit-image's data/{name}.png is not installed: pip install scikit-image, or take data=mvtec")


def _save(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _digests(root: Path) -> dict[str, str]:
    files = sorted(path for path in root.rglob("*.png"))
    return {path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _seal(root: Path) -> None:
    (root / "digests.json").write_text(json.dumps(_digests(root), indent=0))


def _intact(root: Path) -> bool:
    try:
        return bool(json.loads((root / "digests.json").read_text()) == _digests(root))
    except (OSError, ValueError):
        return False
