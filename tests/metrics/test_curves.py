"""Image figures equal scikit-learn, torchmetrics and brute force: any range, ties, weights."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from torchmetrics.functional.classification import binary_auroc, binary_average_precision

from diffect.metrics.curves import IMAGE_METRICS, area, image_curve, image_metrics


def cases() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    label = rng.random(90) < 0.6
    return {
        "wide": (rng.normal(0, 5, 90) + 4 * label, label),
        "ties": (rng.integers(-3, 4, 90) + label, label),
        "equal": (np.full(90, -7.5), label),
        "tiny": (1e-12 * rng.normal(size=90), label),
        "huge": (1e12 + 1e6 * rng.normal(size=90), label),
        "separated": (np.where(label, 300.0, -300.0) + rng.normal(size=90), label),
        "reversed": (np.where(label, -1.0, 1.0), label),
        "one defect": (rng.normal(size=90), np.arange(90) == 41),
        "one normal": (rng.normal(size=90), np.arange(90) != 41),
        "zeros of both signs": (np.where(rng.random(90) < 0.5, 0.0, -0.0), label),
    }


def by_sklearn(score: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> dict[str, float]:
    precision, recall, _ = sk.precision_recall_curve(label, score, sample_weight=weight)
    fpr, tpr, _ = sk.roc_curve(label, score, sample_weight=weight, drop_intermediate=False)
    return {
        "image_auroc": sk.roc_auc_score(label, score, sample_weight=weight),
        "image_ap": sk.average_precision_score(label, score, sample_weight=weight),
        "image_f1_max": (2 * precision * recall / np.maximum(precision + recall, 1e-300)).max(),
        "image_tpr_at_5fpr": tpr[fpr <= 0.05].max(),
    }


@pytest.mark.parametrize("name", cases())
def test_equals_sklearn(name: str) -> None:
    score, label = cases()[name]
    ours, theirs = image_metrics(score, label), by_sklearn(score, label)
    assert tuple(ours) == IMAGE_METRICS
    for key, value in theirs.items():
        assert ours[key].shape == (1,)
        assert ours[key][0] == pytest.approx(value, abs=1e-9), key


@pytest.mark.parametrize("name", cases())
def test_equals_torchmetrics_on_ranks(name: str) -> None:
    score, label = cases()[name]
    _, rank = np.unique(score, return_inverse=True)
    dense = torch.from_numpy(rank / max(rank.max(), 1))
    target = torch.from_numpy(label).long()
    ours = image_metrics(score, label)
    assert ours["image_auroc"][0] == pytest.approx(binary_auroc(dense, target).item(), abs=1e-6)
    assert ours["image_ap"][0] == pytest.approx(binary_average_precision(dense, target).item(), abs=1e-6)


@pytest.mark.parametrize("name", cases())
def test_equals_brute_force(name: str) -> None:
    score, label = cases()[name]
    ours = image_metrics(score, label)
    defect, normal = score[label][:, None], score[~label]
    f1, tpr = [], [0.0]
    for threshold in np.unique(score):
        flagged = score >= threshold
        hits = np.count_nonzero(flagged & label)
        f1.append(2 * hits / (flagged.sum() + label.sum()))
        if np.mean(flagged[~label]) <= 0.05:
            tpr.append(hits / label.sum())
    assert ours["image_auroc"][0] == pytest.approx(np.mean((defect > normal) + 0.5 * (defect == normal)), abs=1e-9)
    assert ours["image_f1_max"][0] == pytest.approx(max(f1), abs=1e-9)
    assert ours["image_tpr_at_5fpr"][0] == pytest.approx(max(tpr), abs=1e-9)


@pytest.mark.parametrize("name", ["wide", "ties", "equal", "reversed"])
def test_each_row_of_weights_is_its_own_test_set(name: str) -> None:
    score, label = cases()[name]
    weights = np.random.default_rng(1).integers(0, 4, size=(7, 90)).astype(float)
    ours = image_metrics(score, label, weights)
    for row, weight in enumerate(weights):
        used = weight > 0  # scikit-learn warns of thresholds that nothing reaches
        for key, value in by_sklearn(score[used], label[used], weight[used]).items():
            assert ours[key][row] == pytest.approx(value, abs=1e-9), key


def test_order_and_monotone_transforms_change_nothing() -> None:
    score, label = cases()["wide"]
    order = np.random.default_rng(2).permutation(score.size)
    assert image_metrics(score[order], label[order]) == image_metrics(score, label)
    assert image_metrics(np.exp(score / 3), label) == image_metrics(score, label)


def test_perfection_is_exactly_one() -> None:
    score, label = cases()["separated"]
    weights = np.random.default_rng(3).integers(0, 5, size=(50, 90)).astype(float)
    for values in image_metrics(score, label, weights).values():
        assert (values == 1).all()


@pytest.mark.parametrize(("normals", "expected"), [(19, 0.0), (20, 0.5), (60, 0.5), (59, 0.0)])
def test_the_limit_of_five_percent_is_inclusive(normals: int, expected: float) -> None:
    alarms = 3 if normals > 20 else 1  # 1 of 20 and 3 of 60 are 5%, 1 of 19 and 3 of 59 are more
    score = np.concatenate([np.full(alarms, 9.0), np.zeros(normals - alarms), [8.0, -1.0]])
    label = np.arange(score.size) >= normals
    assert image_metrics(score, label)["image_tpr_at_5fpr"][0] == expected


@pytest.mark.parametrize("limit", [0.1, 0.25, 0.3, 0.5, 0.61, 1.0])
def test_area_is_cut_at_its_limit_by_interpolation(limit: float) -> None:
    fp, tp = np.array([[3.0, 5, 6, 12, 20]]), np.array([[4.0, 5, 5, 8, 9]])
    x, y = np.append(0, fp[0] / 20), np.append(0, tp[0] / 9)
    grid = np.append(x[x < limit], limit)
    expected = np.trapezoid(np.interp(grid, x, y), grid) / limit
    assert area(fp, tp, limit)[0] == pytest.approx(expected, abs=1e-12)


def test_chance_is_half_the_limit() -> None:
    fp, tp = image_curve(np.zeros(10), np.arange(10) < 4)
    assert area(fp, tp, 0.3)[0] == pytest.approx(0.15)
    assert area(fp, tp)[0] == 0.5


@pytest.mark.parametrize(
    ("score", "label", "words"),
    [
        ([1.0, np.nan], [True, False], "1 are not"),
        ([1.0, np.inf], [True, False], "1 are not"),
        ([1.0, 2.0], [True, True], "all are defective"),
        ([1.0, 2.0], [False, False], "all are normal"),
        ([], [], "all are missing"),
    ],
)
def test_undefined_figures_are_refused(score: list[float], label: list[bool], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        image_metrics(score, label)
