"""Anomaly maps as files: pictures, values, binary masks, and overlays on the photographs."""

import io
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffect.detector.detector import Detector, ImageResult, ScoredBatch
from diffect.storage.atomic import write_atomic
from diffect.training.colours import OUTLINE, ColourScale, line_around

FILES = {"png": "maps/{}.png", "npy": "maps/{}.npy", "mask": "masks/{}.png", "overlay": "overlays/{}.png"}


class MapWriter:
    """Writes the files of each image of a batch.

    png: the map in colours over the image, on the canvas. npy: its values, float32. mask: 255 where the map
    exceeds its threshold, else 0. overlay: the map in colours over the photograph, what the mask marks outlined. All
    but png have the image's own size. A colour is one value for all images of a category.

    Args:
        detector: that scored the images.
        kinds: of `FILES`.
        stems: of the files, by the image's name.
        out: the folder.
    """

    def __init__(self, detector: Detector, kinds: Collection[str], stems: Mapping[str, str], out: Path) -> None:
        self.detector, self.kinds, self.stems, self.out = detector, kinds, stems, out

    def write(self, scored: ScoredBatch) -> None:
        """All files of a batch."""
        images = scored.batch["image"].movedim(1, -1).numpy()
        for row, (result, label) in enumerate(zip(self.detector.results(scored), scored.labels, strict=True)):
            outline = None if label is None else self.detector.calibrations[label].outline
            colours = ColourScale.of(outline)
            for kind in self.kinds:
                if kind == "npy":
                    content = _npy(result.map)
                elif kind == "mask":
                    content = _png(_mask(result, outline).astype(np.uint8) * 255)
                elif kind == "overlay":
                    content = _png(_overlay(result, scored.photographs[row](), colours, outline))
                else:
                    content = _png(colours.over(result.canvas_map, images[row]))
                write_atomic(self.out / FILES[kind].format(self.stems[result.name]), content)


def _mask(result: ImageResult, outline: float | None) -> NDArray[np.bool_]:
    """Where the map exceeds its threshold, at the image's own size; nowhere without a threshold, or where ignored."""
    return (result.map > (np.inf if outline is None else outline)) & result.looked_at


def _overlay(
    result: ImageResult, photograph: NDArray[np.uint8], colours: ColourScale, outline: float | None
) -> NDArray[np.uint8]:
    """The map's colours over the photograph (H, W, 3), and a line around the mask."""
    blended, mask = colours.over(result.map, photograph), _mask(result, outline)
    blended[line_around(mask, max(1, round(max(mask.shape) / 500)))] = OUTLINE
    return blended


def _png(pixels: NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _npy(values: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
