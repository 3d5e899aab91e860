"""The gallery of a run: its worst misses, worst false alarms and clearest hits, as small pictures in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from diffect.data.canvas import box_slices
from diffect.data.datamodule import DataModule
from diffect.data.sample import Sample
from diffect.detector.module import DetectorModule
from diffect.runs.record_file import GALLERY
from diffect.storage import written

LONG_SIDE = 256  # pixels; no picture is larger
_FILES = {"image": "{}_image.jpg", "map": "{}_map.jpg", "mask": "{}_mask.png"}
_QUALITY = 85  # of JPEG
_OUTLINE = (0, 229, 255)  # a colour that neither photographs of parts nor the maps have
_WIDTH = 2  # pixels of outline around a defect


@dataclass(frozen=True)
class Shown:
    """A test image that is shown: its position in the test set, what it is, and the score it got."""

    position: int
    sample: Sample
    score: float


def write(
    detector: DetectorModule, data: DataModule, thresholds: Sequence[float | None], count: int, folder: Path
) -> dict[str, list[dict[str, Any]]]:
    """Write the pictures of each category into `folder`/gallery, and return what they show, in the order chosen.

    For each image: the photograph and its anomaly map (JPEG), and an outline of its defect (PNG with a transparent
    background; None without a mask), all without padding. Colours of maps: see `colours`.
    """
    written.remove(folder / GALLERY)  # what an earlier attempt at this run drew
    chosen = [_chosen(detector, data, index, count) for index in range(len(data.categories))]
    if not any(chosen) or not data.kind.drawable:
        return {}
    stems = [f"{number:04d}" for number in range(sum(map(len, chosen)))]
    names = [name.format(stem) for name in _FILES.values() for stem in stems]
    written.note(folder / GALLERY, names, "test images of the run in the folder above")
    entries: dict[str, list[dict[str, Any]]] = {}
    number = 0
    for index, category in enumerate(data.categories):
        entries[category] = []
        if not chosen[index]:
            continue
        scores = [_scores(detector, data, index, anomalous) for anomalous in (False, True)]
        batch, maps = _predicted(detector, data, chosen[index])
        coloured = colours(maps, *_scale(maps, chosen[index], scores[0], thresholds[index]))
        for row, shown in enumerate(chosen[index]):
            picture = {name: batch[name][row].numpy() for name in ("image", "mask", "box", "has_mask")}
            entries[category].append(
                {
                    "name": shown.sample.name,
                    "defect": shown.sample.defect,
                    "anomalous": shown.sample.anomalous,
                    "score": shown.score,
                    "threshold": thresholds[index],
                    "kind": _kind(shown, thresholds[index], *scores),
                    **_pictures(picture, coloured[row], folder, f"{GALLERY}/{number:04d}"),
                }
            )
            number += 1
    return entries


def choose(shown: Sequence[Shown], count: int) -> list[Shown]:
    """The `count` lowest-scoring defective images, as many highest-scoring good ones, and half as many clear hits.

    No image is shown twice; equal scores are ordered by name.
    """
    up = sorted(shown, key=lambda one: (one.score, one.sample.name))
    defective = [one for one in up if one.sample.anomalous]
    good = [one for one in reversed(up) if not one.sample.anomalous]
    missed = defective[:count]
    return missed + good[:count] + defective[len(missed) :][::-1][: (count + 1) // 2]


def colours(maps: NDArray[np.float32], low: float, middle: float) -> NDArray[np.uint8]:
    """Maps (B, H, W) as colours (B, H, W, 3), matplotlib's inferno at u / (1 + u), u = (map - low) / (middle - low).

    `low` is black, `middle` has the middle colour, and no value is too high for a colour of its own.
    """
    from matplotlib import colormaps

    above = np.clip((maps - low) / max(middle - low, 1e-12), 0, None)
    return np.asarray((colormaps["inferno"](above / (1 + above))[..., :3] * 255).round(), dtype=np.uint8)


def _chosen(detector: DetectorModule, data: DataModule, index: int, count: int) -> list[Shown]:
    """The test images of one category that are shown."""
    rows = [(position, row) for position, (label, row) in enumerate(data.splits["test"]) if label == index]
    scores = detector.tally.scores[index]
    return choose([Shown(position, data.sample(index, row), scores[row]) for position, row in rows], count)


def _scores(detector: DetectorModule, data: DataModule, index: int, anomalous: bool) -> list[float]:
    scores = detector.tally.scores[index].items()
    return [score for row, score in scores if data.sample(index, row).anomalous == anomalous]


def _predicted(
    detector: DetectorModule, data: DataModule, chosen: Sequence[Shown]
) -> tuple[dict[str, torch.Tensor], NDArray[np.float32]]:
    """The batch of the chosen test images, and their maps (B, H, W)."""
    batch = data.test_dataloader().batch([one.position for one in chosen])
    detector.eval()
    with torch.no_grad():
        return batch, detector.predictor.predict_batch(batch).map.cpu().numpy()


def _scale(
    maps: NDArray[np.float32], chosen: Sequence[Shown], good: Sequence[float], threshold: float | None
) -> tuple[float, float]:
    """The two ends of a category's colour scale: the usual value of a good image, and the threshold.

    Without good images the usual value is that of the images shown. Without a threshold it is the highest score of a
    good image, and without good images the lowest score of those shown.
    """
    normal = maps[[not one.sample.anomalous for one in chosen]]
    low = float(np.median(normal if len(normal) else maps))
    if threshold is None:
        threshold = max(good) if good else min(one.score for one in chosen)
    return low, threshold


def _kind(one: Shown, threshold: float | None, good: Sequence[float], defective: Sequence[float]) -> str:
    """By the threshold; without one, compared with the most extreme score of the other class."""
    if one.sample.anomalous:
        bar = max(good, default=-np.inf) if threshold is None else threshold
        return "hit" if one.score > bar else "miss"
    bar = min(defective, default=np.inf) if threshold is None else threshold
    return "false alarm" if one.score > bar else "pass"


def _pictures(
    picture: dict[str, NDArray[Any]], coloured: NDArray[np.uint8], folder: Path, stem: str
) -> dict[str, str | None]:
    """Write the pictures of one image; their paths within `folder`."""
    box = box_slices(picture["box"].tolist())
    names: dict[str, str | None] = {name: _FILES[name].format(stem) for name in ("image", "map")} | {"mask": None}
    for name, pixels in (("image", picture["image"].transpose(1, 2, 0)), ("map", coloured)):
        small = _small(Image.fromarray(pixels[box]), Image.Resampling.LANCZOS)
        small.save(folder / str(names[name]), format="JPEG", quality=_QUALITY)
    if picture["has_mask"] and picture["mask"].any():
        names["mask"] = drawn = _FILES["mask"].format(stem)
        _outline(picture["mask"][box]).save(folder / drawn, format="PNG", optimize=True)
    return names


def _outline(mask: NDArray[np.bool_]) -> Image.Image:
    """A line around what the mask (H, W) marks, on a transparent background."""
    from scipy.ndimage import binary_dilation

    inner = np.asarray(_small(Image.fromarray(mask.astype(np.uint8)), Image.Resampling.NEAREST), dtype=bool)
    line = binary_dilation(inner, structure=np.ones((3, 3)), iterations=_WIDTH) & ~inner
    picture = Image.fromarray(line.astype(np.uint8), mode="P")
    picture.putpalette((0, 0, 0, *_OUTLINE))
    picture.info["transparency"] = 0
    return picture


def _small(picture: Image.Image, way: Image.Resampling) -> Image.Image:
    """The picture, its long side at most LONG_SIDE; never enlarged."""
    scale = LONG_SIDE / max(picture.size)
    if scale >= 1:
        return picture
    return picture.resize((max(1, round(picture.width * scale)), max(1, round(picture.height * scale))), way)
