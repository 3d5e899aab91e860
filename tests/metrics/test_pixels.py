"""Pixel figures equal scikit-learn and a brute-force AUPRO: ties, padding, diagonal regions, any limit."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from diffect.metrics.curves import area
from diffect.metrics.pixels import PIXEL_METRICS, Pixels, pixel_metrics, region_shares


def scene(kind: str, images: int = 6, height: int = 12, width: int = 10) -> Pixels:
    """Small maps with regions that touch diagonally or reach into the padding."""
    rng = np.random.default_rng(5)
    masks = np.zeros((images, height, width), dtype=bool)
    masks[1, 2:4, 2:5] = True
    masks[1, 4, 5] = True  # diagonal: belongs to the block above
    masks[1, 9, 1] = True
    masks[2, 5:11, 7:10] = True  # cut by the padding
    masks[3] = rng.random((height, width)) < 0.15
    valid = np.ones_like(masks)
    valid[:, :, -2:] = False
    noise = rng.normal(size=masks.shape)
    maps = {
        "wide": 30 * noise + 40 * masks,
        "ties": np.round(noise + masks),
        "equal": np.full(masks.shape, -3.0),
        "tiny": 1e-9 * (noise + masks),
        "separated": noise + 100 * masks,
        "reversed": noise - 100 * masks,
    }[kind]
    return Pixels.select(maps.astype(np.float32), masks, valid, np.ones(images, dtype=bool))


KINDS = ["wide", "ties", "equal", "tiny", "separated", "reversed"]


def flat(pixels: Pixels) -> tuple[np.ndarray, np.ndarray]:
    taken = pixels.normal | pixels.defect
    return pixels.maps[taken], pixels.defect[taken]


def grow(mask: np.ndarray) -> list[set[tuple[int, int]]]:
    """8-connected regions by flood fill."""
    left = {(int(y), int(x)) for y, x in np.argwhere(mask)}
    regions = []
    while left:
        region, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            region.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge.extend(near)
        regions.append(region)
    return regions


def aupro(pixels: Pixels, limit: float) -> float:
    """Threshold by threshold, region by region, segment by segment."""
    regions = [(i, region) for i, mask in enumerate(pixels.defect) for region in grow(mask)]
    points = [(0.0, 0.0)]
    for threshold in np.unique(flat(pixels)[0])[::-1]:
        flagged = pixels.maps >= threshold
        overlaps = [np.mean([flagged[i, y, x] for y, x in region]) for i, region in regions]
        points.append((float(np.mean(flagged[pixels.normal])), float(np.mean(overlaps))))
    total = 0.0
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 < limit < x1:
            x1, y1 = limit, y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
        if x1 <= limit:
            total += (x1 - x0) * (y0 + y1) / 2
    return total / limit


@pytest.mark.parametrize("kind", KINDS)
def test_equals_sklearn(kind: str) -> None:
    pixels = scene(kind)
    score, label = flat(pixels)
    ours = pixel_metrics(*pixels.ordered().curve())
    precision, recall, _ = sk.precision_recall_curve(label, score)
    assert tuple(ours) == PIXEL_METRICS
    assert ours["pixel_auroc"][0] == pytest.approx(sk.roc_auc_score(label, score), abs=1e-9)
    assert ours["pixel_ap"][0] == pytest.approx(sk.average_precision_score(label, score), abs=1e-9)
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-300)
    assert ours["pixel_f1_max"][0] == pytest.approx(f1.max(), abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_equals_torchmetrics_on_ranks(kind: str) -> None:
    pixels = scene(kind)
    score, label = flat(pixels)
    _, rank = np.unique(score, return_inverse=True)
    dense, target = torch.from_numpy(rank / max(rank.max(), 1)), torch.from_numpy(label).long()
    ours = pixel_metrics(*pixels.ordered().curve())
    assert ours["pixel_auroc"][0] == pytest.approx(binary_auroc(dense, target).item(), abs=1e-6)
    assert ours["pixel_ap"][0] == pytest.approx(binary_average_precision(dense, target).item(), abs=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_aupro_equals_brute_force_at_any_limit(kind: str) -> None:
    pixels = scene(kind)
    fp, tp, pro = pixels.ordered().curve()
    ours = pixel_metrics(fp, tp, pro)
    assert ours["pixel_aupro_30"][0] == pytest.approx(aupro(pixels, 0.30), abs=1e-9)
    assert ours["pixel_aupro_5"][0] == pytest.approx(aupro(pixels, 0.05), abs=1e-9)
    normal = np.count_nonzero(pixels.normal)
    for limit in (1 / normal, 7 / normal, 7.4 / normal, 0.123, 0.999, 1.0):  # at points and between them
        assert area(fp, pro, limit)[0] == pytest.approx(aupro(pixels, limit), abs=1e-9), limit


def test_perfect_and_blind_maps() -> None:
    assert all(value == [1] for value in pixel_metrics(*scene("separated").ordered().curve()).values())
    blind = pixel_metrics(*scene("equal").ordered().curve())
    assert blind["pixel_auroc"] == [0.5]
    assert blind["pixel_aupro_30"] == pytest.approx(0.15)
    assert blind["pixel_aupro_5"] == pytest.approx(0.025)


def test_regions_touch_diagonally_and_never_across_images() -> None:
    masks = np.zeros((3, 4, 4), dtype=bool)
    masks[0, [0, 1, 2], [0, 1, 2]] = True
    masks[0, 0, 3] = True
    masks[1, 0, 0] = True  # same place as in the image before
    assert region_shares(masks).tolist() == [1 / 3, 1, 1 / 3, 1 / 3, 1]
    assert region_shares(np.zeros((2, 4, 4), dtype=bool)).size == 0


def test_padding_and_images_that_do_not_enter_change_nothing() -> None:
    pixels = scene("wide")
    reference = pixel_metrics(*pixels.ordered().curve())
    taken = pixels.normal | pixels.defect
    maps = np.where(taken, pixels.maps, np.float32(1e6))
    masks = pixels.defect | ~taken  # even a mask in the padding
    assert pixel_metrics(*Pixels.select(maps, masks, taken, np.ones(6, bool)).ordered().curve()) == reference
    more = [np.concatenate([array, array[1:3]]) for array in (maps, masks, taken)]
    enters = np.arange(8) < 6
    assert pixel_metrics(*Pixels.select(*more, enters).ordered().curve()) == reference


def test_order_of_images_changes_nothing() -> None:
    pixels = scene("ties")
    order = np.random.default_rng(0).permutation(6)
    taken = pixels.normal | pixels.defect
    mixed = Pixels.select(pixels.maps[order], pixels.defect[order], taken[order], np.ones(6, bool))
    ours = pixel_metrics(*mixed.ordered().curve())
    for name, value in pixel_metrics(*pixels.ordered().curve()).items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [12, 96])
def test_histograms_know_the_figures_to_a_thousandth(kind: str, size: int) -> None:
    pixels = scene(kind, 6, size, size)
    ordered = pixels.ordered()
    edges = ordered.edges(2048)
    assert edges.size < 2048
    above = pixels.histograms(edges)
    assert above[0].sum(axis=0)[-1] == ordered.normal.size
    assert above[1].sum(axis=0)[-1] == ordered.defect.size
    binned = pixel_metrics(*(counts.sum(axis=0, keepdims=True) for counts in above))
    for name, value in pixel_metrics(*ordered.curve()).items():
        assert binned[name] == pytest.approx(value, abs=1e-3), name


def test_histograms_with_more_edges_than_scores_are_exact() -> None:
    pixels = scene("ties")
    ordered = pixels.ordered()
    binned = pixel_metrics(*(counts.sum(axis=0)[None] for counts in pixels.histograms(ordered.edges(2048))))
    for name, value in pixel_metrics(*ordered.curve()).items():
        assert binned[name] == pytest.approx(value, abs=1e-12), name


def test_regions_touch_in_every_direction_at_any_rank() -> None:
    line = np.array([[1, 1, 0, 1, 0, 0]], bool)
    assert region_shares(line).tolist() == [0.5, 0.5, 1]
    cube = np.zeros((1, 4, 4, 4), bool)
    cube[0, 0, 0, 0] = cube[0, 1, 1, 1] = cube[0, 1, 2, 1] = True  # corners touch, then faces
    cube[0, 3, 0, 3] = True
    assert sorted(region_shares(cube).tolist()) == [1 / 3, 1 / 3, 1 / 3, 1]
