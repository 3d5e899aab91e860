"""Checks of the data: samples shared between train and test, simple statistics that give defects away."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from diffect.data.duplicates import alike, near_copies
from diffect.data.sample import Sample
from diffect.data.store import Store
from diffect.metrics.curves import area, image_curve

SUSPECT = 0.95  # AUROC of one trivial statistic from which a category is marked
ENOUGH = 5  # normal and defective test images each; with fewer a perfect separation can be chance


def audit(samples: list[Sample], store: Store, small: NDArray[np.float64] | None) -> dict[str, Any]:
    """The audit of one category; near copies and statistics are looked for in pictures only.

    shared: test samples whose content is also in train. near: further test images of which a training image is
    a close copy (see `duplicates.near_copies`). copies: training samples that are copies or near-copies of others.
    trivial: {statistic: AUROC of it alone, whichever direction is better, or None without both normal and defective
    test images}. direction: {statistic: "higher" | "lower" on defective images}. examples: up to 10 pairs [test, train]
    of shared or near samples. warning: one sentence, or None.

    small: thumbnails of pictures, see `duplicates.thumbnails`; None for all other samples.
    """
    train = np.array([row for row, sample in enumerate(samples) if sample.split == "train"], int)
    test = np.array([row for row, sample in enumerate(samples) if sample.split == "test"], int)
    by_key = {int(store.keys[row]): row for row in train[::-1]}
    shared = {row: by_key[int(store.keys[row])] for row in test if int(store.keys[row]) in by_key}
    close = {} if small is None else near_copies(small[test], small[train])
    near = {test[row]: train[twin] for row, twin in close.items() if test[row] not in shared}
    labels = alike(store.keys[train], None if small is None else small[train]).tolist()
    copies = len(train) - len(set(labels))
    together = len({(label, samples[row].group) for label, row in zip(labels, train, strict=True)}) == len(set(labels))
    anomalous = np.array([samples[row].anomalous for row in test], bool)
    trivial: dict[str, float | None] = {}
    direction: dict[str, str] = {}
    for name, values in store.stats.items() if small is not None else ():
        area = auroc(values[test], anomalous)
        trivial[name] = None if area is None else max(area, 1 - area)
        if area is not None:
            direction[name] = "higher" if area >= 0.5 else "lower"
    pairs = list((shared | near).items())[:10]
    return {
        "shared": len(shared),
        "near": len(near),
        "copies": copies,
        "trivial": trivial,
        "direction": direction,
        "examples": [[samples[row].name, samples[twin].name] for row, twin in pairs],
        "warning": _warning(len(shared), len(near), copies, together, trivial, direction, anomalous),
    }


def auroc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float | None:
    """P(positive scores above negative) + P(equal) / 2; None where one class is missing."""
    if positive.all() or not positive.any():
        return None
    return float(area(*image_curve(scores, positive))[0])


def _warning(
    shared: int,
    near: int,
    copies: int,
    together: bool,
    trivial: dict[str, float | None],
    direction: dict[str, str],
    anomalous: NDArray[np.bool_],
) -> str | None:
    parts = []
    if shared or near:
        parts.append(f"{shared} test images are also in train and {near} are near-copies of images in train")
    if copies:
        where = "stay in one split" if together else "can be in different splits, which data.groups=auto prevents"
        parts.append(f"{copies} training images are copies or near-copies of others; these {where}")
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
