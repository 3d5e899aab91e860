"""The metric gathers batches of any size, says why a figure is undefined, and refuses broken input."""

import json
import math
import tracemalloc

import pytest
import torch
from torch import Tensor

from diffect.metrics.conformal import CONFORMAL_METRICS
from diffect.metrics.curves import IMAGE_METRICS
from diffect.metrics.detection import DetectionMetrics
from diffect.metrics.evaluation import METRICS, Evaluation
from diffect.metrics.peaks import PEAK_METRICS
from diffect.metrics.pixels import PIXEL_METRICS

Batch = dict[str, Tensor]
STATE = ("scores", "anomalous", "maps", "masks", "valid", "has_mask")


def batch(images: int = 11, size: int = 16, spread: float = 20.0) -> Batch:
    generator = torch.Generator().manual_seed(0)
    anomalous = torch.arange(images) % 2 == 0
    masks = torch.zeros(images, size, size, dtype=torch.bool)
    masks[anomalous, 4:9, 3:7] = True
    valid = torch.ones_like(masks)
    valid[:, :, -3:] = False
    maps = spread * torch.randn(images, size, size, generator=generator) + spread * masks
    scores = maps.flatten(1).mean(1) - 5
    has_mask = torch.ones(images, dtype=torch.bool)
    return dict(zip(STATE, (scores, anomalous, maps, masks, valid, has_mask), strict=True))


def evaluate(data: Batch, size: int = 100, threshold: float | None = -5.0, replicates: int = 40) -> Evaluation:
    metric = DetectionMetrics("brick", replicates=replicates)
    metric.threshold = threshold
    for start in range(0, len(data["scores"]), size):
        metric.update(**{name: value[start : start + size] for name, value in data.items()})
    return metric.compute()


@pytest.mark.parametrize("size", [1, 2, 5, 10])
@pytest.mark.parametrize("spread", [1e-3, 0.3, 20.0])
def test_pieces_equal_the_whole(size: int, spread: float) -> None:
    data = batch(spread=spread)
    assert evaluate(data, size) == evaluate(data)


def test_order_of_images_changes_no_figure() -> None:
    data = batch()
    order = torch.randperm(11, generator=torch.Generator().manual_seed(3))
    mixed = evaluate({name: value[order] for name, value in data.items()}).metrics
    for name, value in evaluate(data).metrics.items():
        assert mixed[name] == pytest.approx(value, abs=1e-12), name


def test_all_figures_are_there_in_order_and_fit_json() -> None:
    result = evaluate(batch())
    assert tuple(result.metrics) == METRICS == (*IMAGE_METRICS, *PIXEL_METRICS, *PEAK_METRICS, *CONFORMAL_METRICS)
    assert all(0 <= value <= 1 for value in result.metrics.values())
    assert {len(values) for values in result.replicates.values()} == {40}
    assert not result.undefined
    assert json.loads(json.dumps(result.metrics, allow_nan=False)) == result.metrics
    json.dumps([result.intervals, result.replicates], allow_nan=False)


def test_the_threshold_may_be_set_after_a_first_compute() -> None:
    metric = DetectionMetrics("brick", replicates=5)
    metric.update(**batch())
    assert metric.compute().metrics["conformal_fpr"] is None
    metric.threshold = -1e9
    assert metric.compute().metrics["conformal_fpr"] == 1


@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_without_test_images_every_figure_is_undefined() -> None:
    result = DetectionMetrics("brick").compute()
    assert set(result.metrics.values()) == {None}
    assert set(result.undefined) == set(METRICS) and set(result.undefined.values()) == {"no test images"}


def test_memory_holds_no_map_until_its_category_is_computed() -> None:
    images, size = 40, 128  # 2.6 MB of float32 maps for each metric
    data = batch(images, size)
    maps = data["maps"].numpy().nbytes
    tracemalloc.start()
    metrics = [DetectionMetrics(f"category {number}", replicates=0) for number in range(6)]
    for start in range(0, images, 4):
        for metric in metrics:
            metric.update(**{name: value[start : start + 4] for name, value in data.items()})
    gathered = tracemalloc.get_traced_memory()[1]
    for metric in metrics:
        metric.compute()
    computed = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert gathered < maps / 2  # of six metrics, each with maps of this size
    assert computed < 5 * maps  # one category at a time: copies of its maps, never all six


def test_maps_of_any_rank_are_counted_alike() -> None:
    data = batch()
    flat = evaluate(data).metrics
    for shape in ((11, 256), (11, 4, 4, 16)):
        other = evaluate({name: value.reshape(shape) if value.ndim > 1 else value for name, value in data.items()})
        for name in ("image_auroc", "pixel_auroc", "pixel_ap", "pixel_f1_max"):
            assert other.metrics[name] == flat[name], name


def test_gradients_and_double_precision_are_taken_off() -> None:
    data = batch()
    expected = evaluate(data)
    data["maps"] = data["maps"].double().requires_grad_()
    assert evaluate(data) == expected


def test_half_precision_maps_and_integer_labels_are_taken() -> None:
    data = batch()
    data["maps"] = data["maps"].bfloat16()
    reference = evaluate({**data, "maps": data["maps"].float()})
    data |= {name: data[name].to(torch.uint8) for name in ("anomalous", "masks", "valid", "has_mask")}
    assert evaluate(data) == reference


def undefined(result: Evaluation) -> tuple[str, ...]:
    for name in METRICS:
        assert (result.metrics[name] is None) == (name in result.undefined)
        assert (result.metrics[name] is None) == (result.intervals[name] is None)
        assert (result.metrics[name] is None) == (result.replicates[name] is None)
        assert result.metrics[name] is None or math.isfinite(result.metrics[name])
    return tuple(result.undefined)


def test_without_masks_image_figures_remain() -> None:
    data = batch()
    data["has_mask"] = ~data["anomalous"]
    data["masks"] = torch.zeros_like(data["masks"])
    result = evaluate(data)
    assert undefined(result) == (*PIXEL_METRICS, *PEAK_METRICS)
    assert "no defective pixel" in result.undefined["pixel_ap"]


def test_images_without_masks_leave_the_pixels() -> None:
    data = batch()
    lost = torch.tensor([0, 4])
    data["has_mask"][lost] = False
    kept = [i for i in range(11) if i not in lost]
    some, fewer = evaluate(data), evaluate({name: value[kept] for name, value in data.items()})
    assert undefined(some) == ()
    for name in (*PIXEL_METRICS, *PEAK_METRICS):
        assert some.metrics[name] == fewer.metrics[name], name
    assert some.metrics["image_auroc"] == evaluate(batch()).metrics["image_auroc"]


def test_normal_images_need_no_mask() -> None:
    data = batch()
    data["has_mask"] = data["anomalous"]
    assert evaluate(data) == evaluate(batch())


def test_the_only_mask_is_in_every_resample() -> None:
    data = batch()
    data["has_mask"][1:] = False
    result = evaluate(data)
    assert undefined(result) == ()
    assert result.metrics["pixel_auroc"] < 1


def test_one_class_alone() -> None:
    data = batch()
    normal = evaluate({name: value[~data["anomalous"]] for name, value in data.items()})
    assert undefined(normal) == (*IMAGE_METRICS, *PIXEL_METRICS, *PEAK_METRICS, "conformal_tpr")
    assert normal.undefined["image_ap"] == "the test set holds no defective image"
    defective = evaluate({name: value[data["anomalous"]] for name, value in data.items()})
    assert undefined(defective) == (*IMAGE_METRICS, "conformal_fpr")
    assert defective.undefined["conformal_fpr"] == "the test set holds no normal image"


def test_one_image_of_each_kind() -> None:
    assert undefined(evaluate(batch(2))) == ()


def test_without_a_threshold() -> None:
    result = evaluate(batch(), threshold=None)
    assert undefined(result) == CONFORMAL_METRICS
    assert result.undefined["conformal_fpr"].startswith("no threshold: ")


def test_masks_that_vanish_in_some_resamples_leave_the_interval_open() -> None:
    data = batch()
    data["masks"][2:] = False  # a defect so small that resizing lost it, in all images but the first
    result = evaluate(data)
    assert result.metrics["pixel_auroc"] is not None
    assert result.intervals["pixel_auroc"] is None
    assert "some resamples" in result.undefined["pixel_auroc"]
    assert result.intervals["image_auroc"] is not None


@pytest.mark.parametrize("name", ["scores", "maps"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused(name: str, bad: float) -> None:
    data = batch()
    data[name][3] = bad
    with pytest.raises(ValueError, match=rf"Anomaly {name} of category 'brick' .* in 1 of 11 test images"):
        evaluate(data)


def test_a_map_too_large_for_float32_is_refused() -> None:
    data = batch()
    data["maps"] = data["maps"].double() * 1e300
    with pytest.raises(ValueError, match="NaN or infinite in 11 of 11"):
        evaluate(data)


@pytest.mark.parametrize("name", STATE)
def test_shapes_that_disagree_are_refused(name: str) -> None:
    data = batch()
    data[name] = data[name][:5]
    with pytest.raises(ValueError, match=r"Metrics take scores, anomalous, has_mask \(B,\)"):
        DetectionMetrics("brick").update(**data)


def test_maps_of_two_sizes_are_refused() -> None:
    metric = DetectionMetrics("brick")
    metric.update(**batch())
    with pytest.raises(ValueError, match=r"one size; they have \(16, 16\) and \(20, 20\)"):
        metric.update(**batch(size=20))


def test_a_defect_marked_in_a_normal_image_is_refused() -> None:
    data = batch()
    data["masks"][1, 0, 0] = True
    with pytest.raises(ValueError, match="mark defects in 1 test images labelled normal"):
        DetectionMetrics("brick").update(**data)
