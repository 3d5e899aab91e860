"""Exact figures from counts of true and false alarms, for one weighting of the images or a thousand at once.

A curve is a pair of arrays `fp`, `tp` (R, K): the weight of normal and of defective items that score at or
above the k-th highest threshold, in R weightings. Both end at their totals; the origin is implied.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

IMAGE_METRICS = ("image_auroc", "image_ap", "image_f1_max", "image_tpr_at_5fpr")


def image_metrics(scores: ArrayLike, anomalous: ArrayLike, weights: ArrayLike | None = None) -> dict[str, Floats]:
    """The four image figures from raw scores of any range, ties included.

    `scores` (N,) finite, higher is more anomalous; `anomalous` (N,) bool, both classes present; `weights`
    (R, N) how often each image counts, default once. Returns one value per row of weights, (R,), by name.
    Raises ValueError where the figures are undefined.
    """
    fp, tp = image_curve(scores, anomalous, weights)
    return {
        "image_auroc": area(fp, tp),
        "image_ap": average_precision(fp, tp),
        "image_f1_max": f1_max(fp, tp),
        "image_tpr_at_5fpr": tpr_at(fp, tp, 0.05),
    }


def image_curve(scores: ArrayLike, anomalous: ArrayLike, weights: ArrayLike | None = None) -> tuple[Floats, Floats]:
    """The curve `fp`, `tp` (R, K) at all K distinct scores, arguments as for `image_metrics`."""
    score = np.asarray(scores, dtype=np.float64)  # (N,)
    label = np.asarray(anomalous, dtype=bool)  # (N,)
    weight = np.ones((1, score.size)) if weights is None else np.asarray(weights, dtype=np.float64)  # (R, N)
    if not np.isfinite(score).all():
        raise ValueError(f"Scores must be finite, and {np.count_nonzero(~np.isfinite(score))} are not.")
    if label.all() or not label.any():
        raise ValueError(f"Image figures need normal and defective images, and all are {_kind(label)}.")
    order = np.argsort(-score, kind="stable")
    ends = _last_of_ties(score[order])
    label, weight = label[order], weight[:, order]
    tp = np.cumsum(np.where(label, weight, 0), axis=1)[:, ends]
    fp = np.cumsum(np.where(label, 0, weight), axis=1)[:, ends]
    return fp, tp


def area(fp: Floats, tp: Floats, limit: float = 1.0) -> Floats:
    """Area under the piecewise linear curve of tp over fp rate, from fp rate 0 to `limit`, over `limit`.

    The segment that crosses the limit is cut there by linear interpolation, never extrapolated to the
    nearest measured point. (R, K), (R, K) -> (R,). With limit 1 it is the AUROC.
    """
    fp, tp = _from_zero(fp), _from_zero(tp)  # (R, K + 1); whole counts stay exact until the one division
    end = limit * fp[:, -1:]
    step = np.diff(fp)
    width = np.diff(np.minimum(fp, end))
    share = np.divide(width, step, out=np.zeros_like(step), where=step > 0)  # of each segment that lies inside
    height = tp[:, :-1] + np.diff(tp) * share / 2
    total = (width * height).sum(axis=1)
    return np.asarray(np.minimum(total / (end * tp[:, -1:])[:, 0], 1))  # rounding must not exceed perfection


def average_precision(fp: Floats, tp: Floats) -> Floats:
    """Average precision, stepwise: sum over thresholds of (recall_k - recall_{k-1}) precision_k; -> (R,).

    Not the trapezoid under precision over recall, which is optimistic (Davis & Goadrich 2006).
    """
    added = np.diff(tp, axis=1, prepend=0)
    precision = tp / np.maximum(tp + fp, np.finfo(np.float64).tiny)  # tp = 0 where nothing is flagged
    return np.asarray((added * precision).sum(axis=1) / tp[:, -1])


def f1_max(fp: Floats, tp: Floats) -> Floats:
    """The largest F1 = 2 tp / (flagged + positives) over all thresholds; -> (R,)."""
    return np.asarray((2 * tp / (tp + fp + tp[:, -1:])).max(axis=1))


def tpr_at(fp: Floats, tp: Floats, limit: float) -> Floats:
    """The largest true-positive rate over thresholds whose false-positive rate is at most `limit`; -> (R,).

    The threshold that flags nothing counts (rate 0); nothing is interpolated between thresholds.
    """
    allowed = fp / fp[:, -1:] <= limit
    return np.asarray(np.where(allowed, tp, 0).max(axis=1) / tp[:, -1])


def _from_zero(counts: Floats) -> Floats:
    """The curve with its origin: (R, K) -> (R, K + 1)."""
    return np.concatenate([np.zeros((counts.shape[0], 1)), counts], axis=1)


def _last_of_ties(ordered: NDArray[np.floating]) -> NDArray[np.intp]:
    """Positions in a sorted array where a value occurs for the last time."""
    return np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


def _kind(label: NDArray[np.bool_]) -> str:
    return "missing" if label.size == 0 else "defective" if label.all() else "normal"
