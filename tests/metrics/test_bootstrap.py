"""Resamples are stratified, pair by category, equal a recount of the drawn images; intervals cover."""

import math

import numpy as np
import pytest

from diffect.metrics.bootstrap import interval, resample
from diffect.metrics.conformal import flagged_share
from diffect.metrics.curves import image_metrics
from diffect.metrics.evaluation import METRICS, ScoredImages
from diffect.metrics.pixels import PIXEL_METRICS, Pixels, pixel_metrics


def scored(category: str = "brick", seed: int = 0, images: int = 24, size: int = 40) -> ScoredImages:
    rng = np.random.default_rng(seed)
    content = np.random.default_rng(99)  # the same test set whatever the detector
    anomalous = np.arange(images) % 3 > 0
    masks = np.zeros((images, size, size), dtype=bool)
    for i in np.flatnonzero(anomalous):
        for y, x in content.integers(0, size - 12, size=(2, 2)):
            masks[i, y : y + 9, x : x + 12] = True
    strength = content.uniform(0, 3, size=(images, 1, 1))
    maps = (rng.normal(size=masks.shape) + masks * strength).astype(np.float32)
    scores = maps.reshape(images, -1).max(axis=1) - 10.0
    valid = np.ones_like(masks)
    valid[:, :5] = False
    return ScoredImages(category, scores, anomalous, maps, masks, valid, np.ones(images, dtype=bool))


def test_every_resample_keeps_the_size_of_each_stratum() -> None:
    strata = np.array([0, 1, 1, 2, 0, 1, 0, 0])
    weights = resample("brick", strata, 300)
    assert weights.shape == (300, 8)
    for value in (0, 1, 2):
        assert (weights[:, strata == value].sum(axis=1) == np.count_nonzero(strata == value)).all()
    assert weights[:, strata == 0].mean(axis=0) == pytest.approx(1, abs=0.2)


def test_resamples_depend_on_the_category_alone() -> None:
    strata = np.arange(30) % 2
    assert (resample("brick", strata, 50) == resample("brick", strata, 50)).all()
    assert (resample("brick", strata, 50) == resample("brick", strata, 80)[:50]).all()
    assert (resample("brick", strata, 50) != resample("grass", strata, 50)).any()


def test_strata_of_one_size_are_drawn_apart() -> None:
    weights = resample("brick", np.arange(30) % 2, 50)
    assert (weights[:, ::2] != weights[:, 1::2]).any()


def test_image_replicates_equal_a_recount_of_the_drawn_images() -> None:
    images = scored()
    weights = resample("brick", images.anomalous, 20)
    result = images.evaluate(threshold=-7.0, replicates=20)
    for row, weight in enumerate(weights.astype(int)):
        score, label = np.repeat(images.scores, weight), np.repeat(images.anomalous, weight)
        drawn = {name: value[0] for name, value in image_metrics(score, label).items()}
        drawn["conformal_fpr"] = np.mean(score[~label] > -7)
        drawn["conformal_tpr"] = np.mean(score[label] > -7)
        for name, value in drawn.items():
            assert result.replicates[name][row] == pytest.approx(value, abs=1e-12), name


def test_pixel_replicates_equal_a_recount_to_a_thousandth() -> None:
    images = scored()
    weights = resample("brick", images.anomalous, 12)
    result = images.evaluate(replicates=12)
    for row, weight in enumerate(weights.astype(int)):
        drawn = [np.repeat(array, weight, axis=0) for array in (images.maps, images.masks, images.valid)]
        exact = pixel_metrics(*Pixels.select(*drawn, np.ones(len(drawn[0]), dtype=bool)).ordered().curve())
        for name in PIXEL_METRICS:
            assert result.replicates[name][row] == pytest.approx(exact[name][0], abs=1e-3), name


def test_coarse_bins_leave_no_bias() -> None:
    images = scored()
    fine, coarse = images.evaluate(replicates=50), images.evaluate(replicates=50, bins=64)
    for name in PIXEL_METRICS:
        error = np.subtract(coarse.replicates[name], fine.replicates[name])
        assert abs(error.mean()) < 1e-3, name
        assert (error != 0).any(), name


def test_intervals_are_percentiles_around_the_figure() -> None:
    result = scored().evaluate(threshold=-7.0, replicates=400)
    assert tuple(result.replicates) == tuple(result.intervals) == METRICS
    for name in METRICS:
        low, high = result.intervals[name]
        assert (low, high) == interval(result.replicates[name])
        assert 0 <= low <= result.metrics[name] <= high <= 1, name
        assert low == pytest.approx(np.percentile(result.replicates[name], 2.5))
        assert high == pytest.approx(np.percentile(result.replicates[name], 97.5))


def test_two_runs_of_one_category_pair() -> None:
    one, two = scored(seed=1).evaluate(replicates=300), scored(seed=2).evaluate(replicates=300)
    other = scored("grass", seed=2).evaluate(replicates=300)
    for name in ("image_auroc", "pixel_auroc", "pixel_aupro_30"):
        paired = np.corrcoef(one.replicates[name], two.replicates[name])[0, 1]
        apart = np.corrcoef(one.replicates[name], other.replicates[name])[0, 1]
        assert paired > 0.5, name  # detectors share the hard images of a resample
        assert abs(apart) < 0.25, name
    assert scored(seed=1).evaluate(replicates=300) == one


@pytest.mark.slow
def test_intervals_cover_the_truth() -> None:
    rng = np.random.default_rng(4)
    truth = 0.5 * (1 + math.erf(0.5))  # P(N(1, 1) > N(0, 1)) = Phi(1 / sqrt 2)
    label = np.arange(120) < 60
    covered = 0
    for trial in range(300):
        score = rng.normal(size=120) + label
        low, high = interval(image_metrics(score, label, resample(str(trial), label, 200))["image_auroc"])
        covered += low <= truth <= high
    assert 0.90 < covered / 300 < 0.99


def test_flagged_share_is_strict_and_weighted() -> None:
    scores = np.array([1.0, 2.0, 3.0])
    assert flagged_share(scores, 2.0) == pytest.approx([1 / 3])
    assert flagged_share(scores, 2.0, np.array([[1, 1, 2], [3, 0, 0]])) == pytest.approx([0.5, 0])


def test_no_replicates_no_intervals() -> None:
    result = scored().evaluate(threshold=0.0, replicates=0)
    assert all(value is not None for value in result.metrics.values())
    assert set(result.intervals.values()) == set(result.replicates.values()) == {None}
    assert not result.undefined
