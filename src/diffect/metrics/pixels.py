"""Exact pixel figures from anomaly maps: one sort of the normal pixels, one of the defective ones.

Between two neighbouring scores of defective pixels only false alarms are added, so there every curve is a
horizontal line: its corners, one pair per distinct defective score, determine it, and the normal pixels
are only counted.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from diffect.metrics.curves import Floats, area, average_precision, f1_max

Bools = NDArray[np.bool_]
Maps = NDArray[np.float32]

_CHUNK = 100  # resamples whose curves are held at once: 100 x 2048 float64 are 1.6 MB
PIXEL_METRICS = ("pixel_auroc", "pixel_ap", "pixel_f1_max", "pixel_aupro_30", "pixel_aupro_5")


@dataclass(frozen=True)
class Pixels:
    """Pixels that enter: `normal`, `defect` (N, *size) bool, disjoint; `shares` (P,) goes with `maps[defect]`.

    A share is 1 / (pixels of the region that the pixel lies in), so shares above a threshold add up to
    the per-region overlap, summed over regions.
    """

    maps: Maps
    normal: Bools
    defect: Bools
    shares: Floats

    @classmethod
    def select(cls, maps: Maps, masks: Bools, valid: Bools, enters: Bools) -> "Pixels":
        """The valid pixels of the images that enter: `maps`, `masks`, `valid` (N, *size), `enters` (N,)."""
        taken = valid & enters.reshape(-1, *[1] * (maps.ndim - 1))
        defect = taken & masks
        return cls(maps, taken & ~masks, defect, region_shares(defect))

    def ordered(self) -> "OrderedPixels":
        """The same pixels, sorted."""
        normal = self.maps[self.normal]
        normal.sort()
        defect = self.maps[self.defect]
        order = np.argsort(defect, kind="stable")
        return OrderedPixels(normal, defect[order], self.shares[order])

    def histograms(self, edges: Maps) -> tuple[Floats, Floats, Floats]:
        """Per image, normal pixels, defective pixels and shares at or above each edge: three of (N, E + 1).

        Edges ascend; columns run from the highest edge down, and the last one holds all pixels.
        """
        bins = edges.size + 1
        counts = np.zeros((3, len(self.maps), bins))
        stops = np.cumsum([np.count_nonzero(defect) for defect in self.defect])
        for i, (values, normal, defect) in enumerate(zip(self.maps, self.normal, self.defect, strict=True)):
            above = np.searchsorted(edges, values[normal], side="right")
            counts[0, i] = np.bincount(above, minlength=bins)
            if defect.any():
                above = np.searchsorted(edges, values[defect], side="right")
                counts[1, i] = np.bincount(above, minlength=bins)
                counts[2, i] = np.bincount(above, self.shares[stops[i] - above.size : stops[i]], minlength=bins)
        normal_above, defect_above, shares_above = np.cumsum(counts[:, :, ::-1], axis=2)
        return normal_above, defect_above, shares_above


@dataclass(frozen=True)
class OrderedPixels:
    """Scores in ascending order: `normal` (M,), `defect` (P,), and the `shares` (P,) of the latter."""

    normal: Maps
    defect: Maps
    shares: Floats

    def curve(self) -> tuple[Floats, Floats, Floats]:
        """Exact corners `fp`, `tp`, `pro`, each (1, K): counts just above and at every defective score."""
        first = np.flatnonzero(np.append(True, self.defect[1:] != self.defect[:-1]))[::-1]
        thresholds = self.defect[first]
        fp = _staircase(
            self.normal.size - np.searchsorted(self.normal, thresholds, side="right"),
            self.normal.size - np.searchsorted(self.normal, thresholds, side="left"),
            self.normal.size,
        )
        tp = (self.defect.size - first).astype(np.float64)
        pro = np.cumsum(self.shares[::-1])[self.defect.size - first - 1]
        return (
            fp,
            _staircase(np.append(0, tp[:-1]), tp, tp[-1]),
            _staircase(np.append(0, pro[:-1]), pro, pro[-1]),
        )

    def edges(self, bins: int) -> Maps:
        """At most `bins - 1` ascending scores, each third even in one of normal pixels, defects, shares.

        An area under a curve known at edges only is wrong by at most half a step of its height: even shares
        keep the AUPRO's error below 3 / (2 bins) for every limit; bins of equal width would not.
        """
        ranks = np.linspace(0, 1, (bins - 1) // 3)
        total = np.cumsum(self.shares)
        at = np.searchsorted(total, ranks * total[-1]).clip(max=self.defect.size - 1)
        by_normal = self.normal[np.rint(ranks * (self.normal.size - 1)).astype(np.intp)]
        by_defect = self.defect[np.rint(ranks * (self.defect.size - 1)).astype(np.intp)]
        return np.unique(np.concatenate([by_normal, by_defect, self.defect[at]]))


def pixel_metrics(fp: Floats, tp: Floats, pro: Floats) -> dict[str, Floats]:
    """The five pixel figures of R curves (R, K), -> (R,) by name.

    AUPRO is the mean overlap with the 8-connected regions over the false-positive rate of all normal
    pixels, integrated exactly to 0.3 (Bergmann et al. 2021, MVTec AD) or 0.05 and divided by that limit.
    """
    return {
        "pixel_auroc": area(fp, tp),
        "pixel_ap": average_precision(fp, tp),
        "pixel_f1_max": f1_max(fp, tp),
        "pixel_aupro_30": area(fp, pro, 0.30),
        "pixel_aupro_5": area(fp, pro, 0.05),
    }


def resampled(
    pixels: Pixels, weights: Floats, bins: int, figures: Callable[[Floats, Floats, Floats], dict[str, Floats]]
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Figures of all images, (1,) by name, and of R resamples of them, (R,) by name.

    Those of resamples come from histograms. Bins cause about the same error in every resample, and the error on all
    images is known, so it is taken off.

    Args:
        pixels: of N images, normal and defective ones.
        weights: (R, N), how often each image counts; no resample may be without normal or without defective pixels.
        bins: of the histograms, at most.
        figures: of curves `fp`, `tp`, `pro`, such as `pixel_metrics`.
    """
    ordered = pixels.ordered()
    above = pixels.histograms(ordered.edges(bins))
    exact = figures(*ordered.curve())
    binned = figures(*(counts.sum(axis=0, keepdims=True) for counts in above))
    chunks = [
        figures(*(part @ counts for counts in above)) for part in np.split(weights, range(_CHUNK, len(weights), _CHUNK))
    ]
    samples = {name: np.concatenate([chunk[name] for chunk in chunks]) for name in exact}
    return exact, {name: np.clip(values + exact[name] - binned[name], 0, 1) for name, values in samples.items()}


def region_shares(defect: Bools) -> Floats:
    """1 / (size of its region) for every defective pixel, (N, *size) bool -> (P,) in C order.

    Pixels that touch in any direction, also diagonally, are of one region: 8-connected in two dimensions.
    """
    touching = np.ones((3,) * (defect.ndim - 1), dtype=bool)
    shares = [np.empty(0)]
    for mask in defect:
        if not mask.any():
            continue
        regions = ndimage.label(mask, structure=touching)[0][mask]
        shares.append(1 / np.bincount(regions)[regions])
    return np.concatenate(shares)


def _staircase(before: NDArray[np.generic], after: NDArray[np.generic], last: float) -> Floats:
    """Corners in order, (K,), (K,) -> (1, 2 K + 1)."""
    corners = np.empty((1, 2 * len(before) + 1))
    corners[0, 0:-1:2], corners[0, 1:-1:2], corners[0, -1] = before, after, last
    return corners
