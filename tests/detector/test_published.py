"""detector=padim and detector=patchcore are the published methods, as numpy and scipy compute them in float64.

The features are the same, those of the backbone, and the map is proportional to the published one. In one place the
paper is left: PaDiM's 0.01 is relative to the mean variance of the features.
"""

import functools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from configs import composed
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, uniform_filter
from scipy.spatial.distance import cdist
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import interpolate

from diffect.data.sample import IMAGE
from diffect.detector.predictor import Predictor
from diffect.metrics.pixels import Pixels, pixel_metrics
from diffect.representations.backbones import EfficientNetLite
from diffect.training.build import build, represent

SIZE, CHANNELS = 64, 24 + 112
Array = NDArray[np.float64]


def images(count: int, seed: int, defects: bool = True) -> tuple[Tensor, NDArray[np.bool_]]:
    """Striped images (count, 3, SIZE, SIZE), and the masks of the brighter discs on every second one."""
    random = np.random.default_rng(seed)
    row, column = np.mgrid[:SIZE, :SIZE]
    made, masks = [], []
    for number in range(count):
        stripes = np.sin(row * random.normal(0.5, 0.02) + column * 0.2 + random.uniform(0, 6))[..., None] * [30, 40, 20]
        centre = random.uniform(12, SIZE - 12, 2)
        mask = (np.hypot(row - centre[0], column - centre[1]) < 5) & defects & (number % 2 == 1)
        values = 120 + stripes + random.normal(0, 12, (SIZE, SIZE, 3)) + 30 * mask[..., None]
        made.append(torch.from_numpy(values.clip(0, 255).astype(np.uint8)).permute(2, 0, 1))
        masks.append(mask)
    return torch.stack(made), np.stack(masks)


NORMAL, (TESTED, MASKS) = images(30, seed=0, defects=False)[0], images(24, seed=1)


@functools.cache
def predictor(detector: str) -> Predictor:
    """The detector, fitted to the normal images."""
    cfg = composed("train", f"detector={detector}", "backbone.blocks=[2,10]", "representation.exposure=none")
    representation = represent(cfg, ["stripes"], IMAGE)
    made = build(cfg, ["stripes"], NORMAL[:1], representation, "0123456789ab").predictor.eval()
    batch = made.features(NORMAL) | {"label": torch.zeros(len(NORMAL), dtype=torch.int64)}
    representation.fit([(batch["raw"], batch["label"])])
    made.denoiser.fit([made.encode(batch)[:2]])  # type: ignore[operator]
    made.anomaly_map.calibrate([(made.components(batch), batch["label"])])
    return made


def features(shown: Tensor, averaged: bool) -> Array:
    """(N, h, w, C): the scales, averaged over 3 x 3 or not, on the finest grid."""
    joined = []
    for maps in EfficientNetLite([2, 10]).maps(shown.float() / 255):
        values = maps.double().numpy()
        if averaged:
            window = (1, 1, 3, 3)
            inside = uniform_filter(np.ones(values.shape), window, mode="constant")
            values = uniform_filter(values, window, mode="constant") / inside
        joined.append(interpolate(torch.from_numpy(values), (SIZE // 4, SIZE // 4), mode="bilinear"))
    return torch.cat(joined, dim=1).movedim(1, -1).numpy()


def padim(shown: Tensor) -> Array:
    """Defard et al. 2020, equations 1 and 2: the distance (N, h, w), by the regularised covariance of each cell."""
    normal, seen = (features(some, averaged=False) for some in (NORMAL, shown))
    regulariser = 0.01 * normal.var((0, 1, 2)).mean() * np.eye(CHANNELS)
    distance = np.empty(seen.shape[:3])
    for cell in np.ndindex(seen.shape[1:3]):
        off = seen[:, *cell] - normal[:, *cell].mean(0)
        covariance = np.cov(normal[:, *cell], rowvar=False) + regulariser
        distance[:, *cell] = np.sqrt(np.einsum("nc,nc->n", off, np.linalg.solve(covariance, off.T).T))
    return distance


def patchcore(shown: Tensor) -> Array:
    """Roth et al. 2022, equation 6: the distance (N, h, w) to the nearest of all patches, each a mean over 3 x 3."""
    normal, seen = (features(some, averaged=True) for some in (NORMAL, shown))
    stored = normal.reshape(-1, CHANNELS)
    return np.stack([cdist(one.reshape(-1, CHANNELS), stored).min(1).reshape(one.shape[:2]) for one in seen])


def published(distance: Array) -> Array:
    """The map (N, SIZE, SIZE): bilinear, then a Gaussian of 1/64 of the side."""
    wide = interpolate(torch.from_numpy(distance)[:, None], (SIZE, SIZE), mode="bilinear")[:, 0].numpy()
    return np.stack([gaussian_filter(one, SIZE / 64, mode="mirror") for one in wide])


def figures(maps: Array) -> tuple[float, float]:
    """Image AUROC, of the maps' maxima, and AUPRO."""
    everywhere = np.ones_like(MASKS)
    pixels = Pixels.select(maps.astype(np.float32), MASKS, everywhere, np.ones(len(maps), dtype=bool))
    aupro = pixel_metrics(*pixels.ordered().curve())["pixel_aupro_30"]
    return roc_auc_score(MASKS.any((1, 2)), maps.max((1, 2))), float(np.ravel(aupro)[0])


@pytest.mark.slow
@pytest.mark.parametrize("method", [padim, patchcore])
def test_maps_and_scores_are_the_published_ones(method: Callable[[Tensor], Array]) -> None:
    found = predictor(method.__name__)(TESTED, torch.zeros(len(TESTED), dtype=torch.int64))
    wanted = published(method(TESTED))
    factor = wanted.mean() / float(found.map.mean())
    assert found.map.double().numpy() * factor == pytest.approx(wanted, rel=5e-3)
    assert found.score.double().numpy() * factor == pytest.approx(wanted.max((1, 2)), rel=5e-3)
    assert figures(found.map.double().numpy()) == pytest.approx(figures(wanted), abs=1e-3)
    assert 0.6 < figures(wanted)[0] < 1  # neither hopeless nor trivial
