"""Pictures of a run: the panel of what its detector sees, and the gallery of misses, false alarms and clear hits."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from diffect.data.canvas import box_slices
from diffect.data.datamodule import DataModule
from diffect.detector.module import DetectorModule
from diffect.detector.predictor import Predictor
from diffect.runs.record import ImageScore, Picture, Result
from diffect.runs.record_file import GALLERY
from diffect.storage import written
from diffect.storage.atomic import replacing

logger = logging.getLogger(__name__)

LONG_SIDE = 256  # pixels; no picture of the gallery is larger
_FILES = {"image": "{}_image.jpg", "map": "{}_map.jpg", "mask": "{}_mask.png"}
_QUALITY = 85  # of JPEG
_OUTLINE = (0, 229, 255)  # a colour that neither photographs of parts nor the maps have
_WIDTH = 2  # pixels of outline around a defect
_GAP = 4  # pixels between the cells of the panel


# Colours


def colours(maps: NDArray[np.float32], low: float, middle: float) -> NDArray[np.uint8]:
    """Maps (B, H, W) as colours (B, H, W, 3), matplotlib's inferno at u / (1 + u), u = (map - low) / (middle - low).

    `low` is black, `middle` has the middle colour, and no value is too high for a colour.
    """
    above = np.clip((maps - low) / max(middle - low, 1e-12), 0, None)
    return _inferno(above / (1 + above)).round().astype(np.uint8)


def overlay(maps: NDArray[np.float32], images: NDArray[np.uint8], low: float, high: float) -> NDArray[np.uint8]:
    """Maps (B, H, W) in colour over the grey of images (B, H, W, 3); `low` is black, `high` and more is brightest."""
    colour = _inferno(np.clip((maps - low) / max(high - low, 1e-12), 0, 1))
    blended = 0.75 * colour + 0.25 * images.mean(-1, keepdims=True)
    return np.asarray(blended.round(), dtype=np.uint8)


def _inferno(values: NDArray[Any]) -> NDArray[Any]:
    from matplotlib import colormaps

    return np.asarray(colormaps["inferno"](values)[..., :3] * 255)


# The panel


@torch.no_grad()
def panel(predictor: Predictor, data: DataModule, count: int) -> NDArray[np.uint8] | None:
    """A picture (., ., 3) uint8 of test images, each with its mask, its map and, if there is one, its reconstruction.

    One column for each image, or one row if images are wider than high. Maps share one colour scale: black at the
    lowest value shown, bright at the highest. None if count is 0, or if the samples are no pictures.
    """
    from skimage.util import montage

    if count and not data.kind.drawable:
        logger.warning("no panel and no gallery: samples of kind %s cannot be drawn", data.kind.name)
    positions = panel_positions(data, count) if data.kind.drawable else []
    if not positions:
        return None
    batch = data.test_dataloader().batch(positions)
    predictor.eval()
    maps = predictor.predict_batch(batch).map.cpu().numpy()
    rebuilt = predictor.reconstruct(batch)
    images = batch["image"].permute(0, 2, 3, 1).numpy()  # (B, H, W, 3)
    heat = overlay(maps, images, float(maps.min()), float(maps.max()))
    rows = [images, np.where(batch["mask"].numpy()[..., None], [255, 255, 255], images // 3), heat]
    if rebuilt is not None:
        rows.append((rebuilt * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    cells = np.stack(rows).astype(np.uint8)  # (rows, B, H, W, 3)
    if images.shape[2] > images.shape[1]:
        cells = cells.swapaxes(0, 1)
    flat, white = cells.reshape(-1, *images.shape[1:]), (255, 255, 255)
    tiled = montage(flat, white, grid_shape=cells.shape[:2], padding_width=_GAP, channel_axis=-1)
    return np.asarray(tiled[_GAP:-_GAP, _GAP:-_GAP])


def save(picture: NDArray[np.uint8], path: Path) -> None:
    """Write the picture as PNG, whole or not at all."""
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def panel_positions(data: DataModule, count: int) -> list[int]:
    """Positions in the test set, `count` at most: the kinds of every category in turn, defects before normal ones."""
    kinds: dict[tuple[int, bool, str], list[int]] = {}
    for position, (category, row) in enumerate(data.splits["test"]):
        sample = data.sample(category, row)
        kinds.setdefault((category, not sample.anomalous, sample.defect), []).append(position)
    turns = zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    return sorted([position for turn in turns for position in turn if position is not None][:count])


# The gallery


def gallery(
    detector: DetectorModule, data: DataModule, results: Mapping[str, Result], count: int, folder: Path
) -> dict[str, list[Picture]]:
    """Write pictures of each category's test images into `folder`/gallery, and return what they show.

    For each image that is chosen: the photograph and its anomaly map (JPEG), and an outline of its defect (PNG with a
    transparent background; None without a mask), all without padding. Colours of maps: see `colours`.
    """
    written.remove(folder / GALLERY)  # what an earlier attempt at this run drew
    chosen = {category: choose(result.scores, count) for category, result in results.items()}
    if not any(chosen.values()) or not data.kind.drawable:
        return {}
    stems = [f"{number:04d}" for number in range(sum(map(len, chosen.values())))]
    names = [name.format(stem) for name in _FILES.values() for stem in stems]
    written.note(folder / GALLERY, names, "test images of the run in the folder above")
    free, drawn = iter(stems), {}
    for label, (category, images) in enumerate(chosen.items()):
        tested, threshold = results[category].scores, detector.calibrations[label].threshold
        rows = sorted((row, position) for position, (part, row) in enumerate(data.splits["test"]) if part == label)
        positions = [rows[tested.index(image)][1] for image in images]  # the scores are in the order of the rows
        drawn[category] = [
            Picture(
                **image.model_dump(),
                threshold=threshold,
                kind=outcome(image, threshold, tested),
                **_write(arrays, folder, f"{GALLERY}/{next(free)}"),
            )
            for image, arrays in zip(images, _arrays(detector, data, positions, threshold, tested), strict=True)
        ]
    return drawn


def choose(tested: Sequence[ImageScore], count: int) -> list[ImageScore]:
    """The `count` lowest-scoring defective images, as many highest-scoring good ones, and half as many clear hits.

    No image is shown twice; equal scores are ordered by name.
    """
    up = sorted(tested, key=lambda image: (image.score, image.name))
    defective = [image for image in up if image.anomalous]
    good = [image for image in reversed(up) if not image.anomalous]
    missed = defective[:count]
    return missed + good[:count] + defective[len(missed) :][::-1][: (count + 1) // 2]


def outcome(image: ImageScore, threshold: float | None, tested: Sequence[ImageScore]) -> str:
    """Hit, miss, false alarm or pass, by the threshold; without one, by the most extreme score of the other class."""
    if threshold is None:
        others = [other.score for other in tested if other.anomalous != image.anomalous]
        threshold = max(others, default=-np.inf) if image.anomalous else min(others, default=np.inf)
    above = image.score > threshold
    return ("hit" if above else "miss") if image.anomalous else ("false alarm" if above else "pass")


@torch.no_grad()
def _arrays(
    detector: DetectorModule,
    data: DataModule,
    positions: list[int],
    threshold: float | None,
    tested: Sequence[ImageScore],
) -> Iterator[dict[str, NDArray[Any]]]:
    """The image, mask, box and coloured map of the test images at these positions, all of one category.

    Colours reach from the usual value of a good image (of those shown, if there is none) to the threshold; without a
    threshold to the highest score of a good image, and without good images to the lowest score.
    """
    if not positions:
        return
    batch = data.test_dataloader().batch(positions)
    detector.eval()
    maps = detector.predictor.predict_batch(batch).map.cpu().numpy()
    normal = maps[~batch["anomalous"].numpy()]
    if threshold is None:
        good = [image.score for image in tested if not image.anomalous]
        threshold = max(good, default=min(image.score for image in tested))
    coloured = colours(maps, float(np.median(normal if len(normal) else maps)), threshold)
    for row, colour in enumerate(coloured):
        yield {name: batch[name][row].numpy() for name in ("image", "mask", "box", "has_mask")} | {"map": colour}


def _write(arrays: dict[str, NDArray[Any]], folder: Path, stem: str) -> dict[str, Any]:
    """Write the pictures of one image; their paths within `folder`."""
    box = box_slices(arrays["box"].tolist())
    names: dict[str, str | None] = {name: _FILES[name].format(stem) for name in ("image", "map")} | {"mask": None}
    for name, pixels in (("image", arrays["image"].transpose(1, 2, 0)), ("map", arrays["map"])):
        small = _small(pixels[box], Image.Resampling.LANCZOS)
        small.save(folder / str(names[name]), format="JPEG", quality=_QUALITY)
    if arrays["has_mask"] and arrays["mask"].any():
        names["mask"] = drawn = _FILES["mask"].format(stem)
        _outline(arrays["mask"][box]).save(folder / drawn, format="PNG", optimize=True)
    return names


def _outline(mask: NDArray[np.bool_]) -> Image.Image:
    """A line around what the mask (H, W) marks, on a transparent background."""
    from scipy.ndimage import binary_dilation

    inner = np.asarray(_small(mask.astype(np.uint8), Image.Resampling.NEAREST), dtype=bool)
    line = binary_dilation(inner, structure=np.ones((3, 3)), iterations=_WIDTH) & ~inner
    picture = Image.fromarray(line.astype(np.uint8), mode="P")
    picture.putpalette((0, 0, 0, *_OUTLINE))
    picture.info["transparency"] = 0
    return picture


def _small(pixels: NDArray[np.uint8], way: Image.Resampling) -> Image.Image:
    """The picture, its long side at most LONG_SIDE; never enlarged."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LONG_SIDE, LONG_SIDE), way, reducing_gap=None)
    return picture
