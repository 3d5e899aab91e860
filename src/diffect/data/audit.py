"""Checks of the data: samples shared between train and test, simple statistics that give defects away."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from diffect.data.sample import Kind, Sample
from diffect.data.store import Store
from diffect.metrics.curves import area, image_curve

SUSPECT = 0.95  # AUROC of one trivial statistic from which a category is marked
ENOUGH = 5  # normal and defective test images each; with fewer a perfect separation can be chance
THUMBNAIL = 32
NEAR = 1.0  # grey levels


def audit(samples: list[Sample], store: Store, kind: Kind) -> dict[str, Any]:
    """The audit of one category; near copies and statistics are looked for in pictures only.

    shared: test samples whose content is also in train. near: further test images of which a training image is
    a close copy (see `near_copies`). trivial: {statistic: AUROC of it alone, whichever direction is better,
    or None without both normal and defective test images}. direction: {statistic: "higher" | "lower" on defective
    images}. examples: up to 10 pairs [test, train] of shared or near samples. warning: one sentence, or None.
    """
    train = np.array([row for row, sample in enumerate(samples) if sample.split == "train"])
    test = np.array([row for row, sample in enumerate(samples) if sample.split == "test"])
    by_key = {int(store.keys[row]): row for row in train[::-1]}
    shared = {row: by_key[int(store.keys[row])] for row in test if int(store.keys[row]) in by_key}
    close = near_copies(store, test, train) if kind.drawable else {}
    near = {row: twin for row, twin in close.items() if row not in shared}
    anomalous = np.array([samples[row].anomalous for row in test])
    trivial: dict[str, float | None] = {}
    direction: dict[str, str] = {}
    for name, values in store.stats.items() if kind.drawable else ():
        area = auroc(values[test], anomalous)
        trivial[name] = None if area is None else max(area, 1 - area)
        if area is not None:
            direction[name] = "higher" if area >= 0.5 else "lower"
    pairs = list((shared | near).items())[:10]
    return {
        "shared": len(shared),
        "near": len(near),
        "trivial": trivial,
        "direction": direction,
        "examples": [[samples[row].name, samples[twin].name] for row, twin in pairs],
        "warning": _warning(len(shared), len(near), trivial, direction, anomalous),
    }


def auroc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """P(positive scores above negative) + P(equal) / 2; None where one class is missing."""
    if positive.all() or not positive.any():
        return None
    return float(area(*image_curve(scores, positive))[0])


def near_copies(store: Store, rows: NDArray[np.int64], among: NDArray[np.int64]) -> dict[int, int]:
    """{row: nearest of `among`} where the two differ only in brightness, compression or size.

    Both become 32 x 32 grey thumbnails minus their mean; their root mean square difference must be below one
    grey level and below a tenth of the thumbnail's contrast, or flat surfaces would all be copies of each other.
    """
    a, b = _thumbnails(store, rows), _thumbnails(store, among)
    squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None] - 2 * a @ b.T
    nearest = squares.argmin(axis=1)
    rms = np.sqrt(np.maximum(squares[np.arange(len(a)), nearest], 0) / a.shape[1])
    close = rms < np.minimum(NEAR, a.std(axis=1) / 10)
    return {int(rows[i]): int(among[nearest[i]]) for i in np.flatnonzero(close)}


def _thumbnails(store: Store, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    size = (THUMBNAIL, THUMBNAIL)
    small = [Image.fromarray(store.arrays[row]).resize(size, Image.Resampling.BOX) for row in rows]
    grey = np.stack([np.asarray(picture, np.float64).mean(axis=2).ravel() for picture in small])
    centred: NDArray[np.float64] = grey - grey.mean(axis=1, keepdims=True)
    return centred


def _warning(
    shared: int,
    near: int,
    trivial: dict[str, float | None],
    direction: dict[str, str],
    anomalous: NDArray[np.bool_],
) -> str | None:
    parts = []
    if shared or near:
        parts.append(f"{shared} test images are also in train and {near} nearly so")
    defective = int(anomalous.sum())
    normal = len(anomalous) - defective
    telling = {name: area for name, area in trivial.items() if area is not None and area >= SUSPECT}
    if telling and min(normal, defective) >= ENOUGH:
        name = max(telling, key=lambda name: telling[name])
        others = f" ({', '.join(other for other in telling if other != name)} too)" if len(telling) > 1 else ""
        parts.append(
            f"{name.replace('_', ' ')} alone ({direction[name]} on defects) separates the {normal} normal "
            f"from the {defective} defective test images with AUROC {telling[name]:.3f}{others}, so a "
            f"detector can score as much without seeing a defect"
        )
    return "; ".join(parts) or None
