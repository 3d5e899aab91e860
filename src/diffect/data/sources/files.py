"""Samples that lie in image files."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from diffect.data import decode
from diffect.data.sample import Sample
from diffect.storage.digests import file_digests


class ImageFiles:
    """Makes the samples of one category's image files, which are hashed together and share one sensor depth.

    bits: the sensor's depth behind 16-bit grey files, None for that of the training files added here.
    """

    def __init__(self, category: str, bits: int | None = None) -> None:
        self.category, self._given_bits = category, bits
        self._paths: list[Path] = []
        self._training: list[Path] = []

    def sample(
        self, split: Literal["train", "test"], name: str, defect: str, path: Path, masks: Sequence[Path] = ()
    ) -> Sample:
        """The sample of an image file and of its mask files; several masks of one image are united."""
        self._paths += [path, *masks]
        self._training += [path] if split == "train" else []

        def load_mask() -> NDArray[np.bool_]:
            height, width = decode.size_of(path)
            return np.any([decode.read_mask(mask, width, height) for mask in masks], axis=0)

        return Sample(
            self.category,
            split,
            name,
            defect,
            load=lambda: decode.read_image(path, self._bits),
            load_mask=load_mask if masks else None,
            path=path,
            load_size=lambda: decode.size_of(path),
            load_version=lambda: " ".join(self._versions([path, *masks])),
        )

    def _versions(self, paths: Sequence[Path]) -> list[str]:
        bits = [] if self._given_bits is None else [f"{self._given_bits} bits"]
        return [*map(self._digests.__getitem__, paths), *bits]

    @cached_property
    def _bits(self) -> int:
        return decode.grey_bits(self._training) if self._given_bits is None else self._given_bits

    @cached_property
    def _digests(self) -> dict[Path, str]:
        return dict(zip(self._paths, file_digests(self._paths), strict=True))
