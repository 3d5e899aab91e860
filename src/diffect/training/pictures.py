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
from diffect.training.colours import OUTLINE, ColourScale, line_around

logger = logging.getLogger(__name__)

LONG_SIDE = 256  # pixels; no picture of the gallery is larger
_FILES = {"image": "{}_image.jpg", "map": "{}_map.jpg", "mask": "{}_mask.png"}
_QUALITY = 85  # of JPEG
_WIDTH = 2  # pixels of outline around a defect
_GAP = 4  # pixels between the cells of the panel


# The panel


@torch.no_grad()
def panel(predictor: Predictor, data: DataModule, count: int) -> NDArray[np.uint8] | None:
    """A picture (., ., 3) uint8 of test images, each with its mask, its map and, if there is one, its reconstruction.

    One column for each image, or one row if images are wider than high. Maps share one colour scale: below their
    median the image is seen, and the middle colour is a quarter of the way from there to the highest value. None if
    count is 0, or if the samples are no pictures.
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
    low, high = float(np.median(maps)), float(maps.max())
    heat = ColourScale(low, low + (high - low) / 4).over(maps, images)
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
    transparent background; None without a mask), all without padding. Colours of maps: see `ColourScale`.
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
    coloured = ColourScale(float(np.median(normal if len(normal) else maps)), threshold).colours(maps)
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
    line = line_around(np.asarray(_small(mask.astype(np.uint8), Image.Resampling.NEAREST)), _WIDTH)
    picture = Image.fromarray(line.astype(np.uint8), mode="P")
    picture.putpalette((0, 0, 0, *OUTLINE))
    picture.info["transparency"] = 0
    return picture


def _small(pixels: NDArray[np.uint8], way: Image.Resampling) -> Image.Image:
    """The picture, its long side at most LONG_SIDE; never enlarged."""
    picture = Image.fromarray(pixels)
    picture.thumbnail((LONG_SIDE, LONG_SIDE), way, reducing_gap=None)
    return picture
