"""Samples that lie in image files."""

from __future__ import annotations

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
        self, split: Literal["train", "test"], name: str, defect: str, path: Path, mask: Path | None = None
    ) -> Sample:
        """The sample of an image file and, where there is one, its mask file."""
        self._paths += [path] if mask is None else [path, mask]
        self._training += [path] if split == "train" else []

        def load_mask() -> NDArray[np.bool_]:
            assert mask is not None
            height, width = decode.size_of(path)
            return decode.read_mask(mask, width, height).astype(bool)

        return Sample(
            self.category,
            split,
            name,
            defect,
            load=lambda: decode.read_image(path, self._bits),
            load_mask=None if mask is None else load_mask,
            path=path,
            load_size=lambda: decode.size_of(path),
            load_version=lambda: " ".join(self._versions(path, mask)),
        )

    def _versions(self, path: Path, mask: Path | None) -> list[str]:
        bits = [] if self._given_bits is None else [f"{self._given_bits} bits"]
        return [self._digests[path], *([] if mask is None else [self._digests[mask]]), *bits]

    @cached_property
    def _bits(self) -> int:
        return decode.grey_bits(self._training) if self._given_bits is None else self._given_bits

    @cached_property
    def _digests(self) -> dict[Path, str]:
        return dict(zip(self._paths, file_digests(self._paths), strict=True))
