"""The built-in data: three categories made from the real textures in scikit-image's wheel."""

import hashlib
import importlib.util
import json
import logging
import shutil
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

VERSION = 1  # of the recipe; raise it when a pixel changes
PICTURES = ("brick", "grass", "gravel")
TEST_SHARE = 0.36  # of a picture's width: the middle, so that a slanted view is interpolated and not extrapolated


@checked
class Textures(Source):
    """Crops of brick, grass and gravel (512 x 512, grey), with synthetic defects and exact masks.

    Training crops come from the left and right parts of each picture, test crops from its middle, so that no
    pixel is in both. A folder in MVTec AD layout is written once into the cache and then read as any other.
    seed: of positions and defects. size: side of a crop in pixels, 32 to 160. train, good, defective: crops
    per category for training, normal test images, and test images of each defect type.
    """

    kind: Kind = IMAGE  # type: ignore[assignment]

    def __init__(
        self,
        seed: NonNegativeInt = 0,
        size: Annotated[int, Interval(ge=32, le=160)] = 128,
        train: Annotated[int, Interval(ge=2, le=4096)] = 96,
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
            f"the defective ones with synthetic defects ({', '.join(texture_defects.DEFECTS)}); no pixel is in both a "
            "training and a test crop"
        )

    def categories(self) -> list[str]:
        """brick, grass, gravel."""
        return list(PICTURES)

    def samples(self, category: str) -> list[Sample]:
        """All samples of one category, from the folder, which is written first where it is missing."""
        return Folder(self.folder()).samples(category)

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
        left = round(picture.shape[1] * (1 - TEST_SHARE) / 2)
        right = picture.shape[1] - left
        sides, middle = (picture[:, :left], picture[:, right:]), (picture[:, left:right],)
        index = PICTURES.index(category)

        def rng(kind: int) -> np.random.Generator:
            return np.random.Generator(np.random.PCG64([self.seed, index, kind]))

        for i, crop in enumerate(_crops(sides, self.size, self.train, rng(0))):
            _save(folder / "train" / GOOD / f"{i:03d}.png", crop)
        for i, crop in enumerate(_crops(middle, self.size, self.good, rng(1))):
            _save(folder / "test" / GOOD / f"{i:03d}.png", crop)
        for number, kind in enumerate(texture_defects.DEFECTS):
            generator = rng(2 + number)
            for i, crop in enumerate(_crops(middle, self.size, self.defective, generator)):
                image, mask = texture_defects.apply(kind, crop, generator)
                _save(folder / "test" / kind / f"{i:03d}.png", image)
                _save(folder / "ground_truth" / kind / f"{i:03d}_mask.png", mask * np.uint8(255))


def _crops(
    parts: tuple[NDArray[np.uint8], ...], size: int, count: int, rng: np.random.Generator
) -> list[NDArray[np.uint8]]:
    """Square crops, evenly from the parts; heights are stratified, so that every set covers the view."""
    crops = []
    for i, step in enumerate(rng.permutation(count)):
        part = parts[i % len(parts)]
        top = int((step + rng.random()) / count * (part.shape[0] - size + 1))
        left = int(rng.integers(part.shape[1] - size + 1))
        crops.append(part[top : top + size, left : left + size])
    return crops


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
