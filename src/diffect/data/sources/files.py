"""Samples that lie in image files."""

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffect.data import decode
from diffect.data.decode import Depth
from diffect.data.sample import Sample
from diffect.data.store import name_of
from diffect.storage.arrays import cached, npy_writer, open_npy
from diffect.storage.caches import cache_root
from diffect.storage.digests import file_digests


class ImageFiles:
    """Makes the samples of one category's image files, which are hashed together and share one depth.

    Args:
        category: of all samples.
        depth: gives the depth, when the first image is decoded.
        version: what changes the pixels beside the content of the files; part of each sample's version.
    """

    def __init__(self, category: str, depth: Callable[[], Depth], version: str = "") -> None:
        self.category, self._depth, self._version = category, cache(depth), version
        self._paths: list[Path] = []

    def sample(
        self, split: Literal["train", "test"], name: str, defect: str, path: Path, masks: Sequence[Path] = ()
    ) -> Sample:
        """The sample of an image file.

        Args:
            split: train or test.
            name: unique in the category.
            defect: "good" for a normal image.
            path: of the file.
            masks: of the image, which are united.
        """
        self._paths += [path, *masks]

        def load_mask() -> NDArray[np.bool_]:
            height, width = decode.size_of(path)
            return np.any([decode.read_mask(mask, width, height) for mask in masks], axis=0)

        return Sample(
            self.category,
            split,
            name,
            defect,
            load=lambda: decode.read_image(path, self._depth()),
            load_mask=load_mask if masks else None,
            path=path,
            mask_paths=tuple(masks),
            load_size=lambda: decode.size_of(path),
            load_version=lambda: " ".join([*map(self._digests.__getitem__, (path, *masks)), self._version]).rstrip(),
        )

    @cached_property
    def _digests(self) -> dict[Path, str]:
        return dict(zip(self._paths, file_digests(self._paths), strict=True))


def sensor_bits(paths: Sequence[Path]) -> int:
    """`decode.sensor_bits` of files, which are decoded for it once and not again while they do not change."""
    path = cache_root() / "depths" / f"{name_of(file_digests(paths))}.npy"

    def build() -> None:
        with npy_writer(path, np.int64, ()) as write:
            write(np.array(decode.sensor_bits(paths)))

    return int(cached(path, "the sensor's depth", lambda: open_npy(path, np.int64, ()), build))
