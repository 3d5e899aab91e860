"""A picture of what a detector sees: image, mask, anomaly map and, where there is one, the reconstruction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from diffect.data.datamodule import DataModule
from diffect.detector.predictor import Predictor
from diffect.storage.atomic import replacing

logger = logging.getLogger(__name__)

_GAP = 4


@torch.no_grad()
def draw(predictor: Predictor, data: DataModule, count: int) -> NDArray[np.uint8] | None:
    """A picture (., ., 3) uint8 of test images, each with its mask, its map and, if there is one, its reconstruction.

    One column for each image, or one row if images are wider than high. Maps share one colour scale: black at the
    lowest value shown, bright at the highest. None if count is 0, or if the samples are no pictures.
    """
    if count and not data.kind.drawable:
        logger.warning("no panel and no gallery: samples of kind %s cannot be drawn", data.kind.name)
    positions = choose(data, count) if data.kind.drawable else []
    if not positions:
        return None
    batch = data.test_dataloader().batch(positions)
    predictor.eval()
    shown = predictor.predict_batch(batch).map.cpu().numpy()
    rebuilt = predictor.reconstruct(batch)
    images = batch["image"].permute(0, 2, 3, 1).numpy()  # (B, H, W, 3)
    masks = batch["mask"].numpy()
    heat = overlay(shown, images, float(shown.min()), float(shown.max()))
    rows = [images, np.where(masks[..., None], [255, 255, 255], images // 3), heat]
    if rebuilt is not None:
        rows.append((rebuilt * 255).round().byte().permute(0, 2, 3, 1).cpu().numpy())
    cells = [list(row.astype(np.uint8)) for row in rows]
    _, height, width, _ = images.shape
    return _tile(cells if width <= height else list(zip(*cells, strict=True)))


def save(picture: NDArray[np.uint8], path: Path) -> None:
    """Write the picture as PNG, whole or not at all."""
    with replacing(path) as temporary:
        Image.fromarray(picture).save(temporary, format="PNG")


def choose(data: DataModule, count: int) -> list[int]:
    """Positions in the test set, `count` at most: the kinds of every category in turn, defects before normal ones."""
    kinds: dict[tuple[int, bool, str], list[int]] = {}
    for position, (category, row) in enumerate(data.splits["test"]):
        sample = data.sample(category, row)
        kinds.setdefault((category, not sample.anomalous, sample.defect), []).append(position)
    queues = [kinds[kind] for kind in sorted(kinds)]
    picked: list[int] = []
    turn = 0
    while len(picked) < count and any(turn < len(queue) for queue in queues):
        picked += [queue[turn] for queue in queues if turn < len(queue)]
        turn += 1
    return sorted(picked[:count])


def overlay(maps: NDArray[np.float32], images: NDArray[np.uint8], low: float, high: float) -> NDArray[np.uint8]:
    """Maps (B, H, W) in colour over the grey of images (B, H, W, 3); `low` is black, `high` and more is brightest."""
    from matplotlib import colormaps

    colour = colormaps["inferno"](np.clip((maps - low) / max(high - low, 1e-12), 0, 1))[..., :3] * 255
    blended = 0.75 * colour + 0.25 * images.mean(-1, keepdims=True)
    return np.asarray(blended.round(), dtype=np.uint8)


def _tile(rows: Sequence[Sequence[NDArray[np.uint8]]]) -> NDArray[np.uint8]:
    height, width, _ = rows[0][0].shape
    canvas = np.full((len(rows) * (height + _GAP) - _GAP, len(rows[0]) * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for i, row in enumerate(rows):
        for j, picture in enumerate(row):
            top, left = i * (height + _GAP), j * (width + _GAP)
            canvas[top : top + height, left : left + width] = picture
    return canvas
