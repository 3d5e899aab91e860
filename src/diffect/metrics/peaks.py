"""Whether the highest pixel of a defective image's map lies on its defect: where a person would look first."""

import math

import numpy as np
from scipy import ndimage

from diffect.metrics.curves import Floats
from diffect.metrics.pixels import Bools, Maps

PEAK_METRICS = ("pixel_peak_hit",)
_NEAR = 10 / 256  # of the short side: what a blurred map may miss the edge of a small defect by


def peak_hits(maps: Maps, masks: Bools, valid: Bools) -> Floats:
    """For each image 1 where the highest valid pixel of its map lies inside or near the mask, else 0; -> (N,).

    Near is a Euclidean distance of at most 10/256 of the short side to a valid pixel of the mask, 10 pixels at 256. Of
    several pixels that are equally high, the share that does so: a map that says nothing does not hit. `maps`, `masks`,
    `valid` (N, *size); NaN for an image without a masked pixel.
    """
    near = _NEAR * min(maps.shape[1:])
    hits = np.full(len(maps), np.nan)
    for i, (values, mask, inside) in enumerate(zip(maps, masks & valid, valid, strict=True)):
        if mask.any():
            highest = inside & (values == values[inside].max())
            hits[i] = np.mean(ndimage.distance_transform_edt(~mask)[highest] <= near + 1e-9)
    return hits


def mean_hits(hits: Floats, weights: Floats) -> Floats:
    """Weighted mean of hits (N,) over the images that have one, for R weightings (R, N) -> (R,); NaN without any."""
    known = np.isfinite(hits)
    total = weights[:, known].sum(axis=1)
    share = weights[:, known] @ hits[known]
    return np.divide(share, total, out=np.full(len(weights), math.nan), where=total > 0)
