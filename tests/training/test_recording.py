"""What a run says of its own protocol: only what was done to it."""

from types import SimpleNamespace
from typing import Any

import pytest

from diffect.detector.anomaly_map import AnomalyMap
from diffect.runs.record import Protocol
from diffect.training import recording


def protocol(
    images: int = 4,
    reference: str = "the selection normals",
    thresholds: tuple[float | None, ...] = (1.0,),
    folds: int = 0,
    **settings: Any,
) -> Protocol:
    detector: Any = SimpleNamespace(
        learner=None,
        predictor=SimpleNamespace(head=None, anomaly_map=AnomalyMap(1, **settings)),
        calibrations=[SimpleNamespace(threshold=threshold) for threshold in thresholds],
    )
    data: Any = SimpleNamespace(splits={"selection": list(range(images)), "test": [0]})
    return recording.protocol(0.05, detector, data, reference, folds)


@pytest.mark.parametrize("width", [0, 6])
def test_a_border_correction_is_said_where_there_is_one(width: int) -> None:
    said = protocol(border=width).component_scale
    assert said.startswith("the mean on the selection normals")
    assert (", after components within 6 cells of the border were divided by how much larger" in said) == bool(width)


def test_the_scale_is_that_of_the_calibration_on_its_images() -> None:
    assert (
        protocol(calibration="standard").component_scale == "the mean and standard deviation on the selection normals"
    )
    assert protocol(reference="the fit normals").component_scale == "the mean on the fit normals"


def test_a_threshold_that_no_category_has_is_not_said_to_come_from_anywhere() -> None:
    held = "held-out calibration normals for a promised false-positive rate of 0.05"
    assert protocol().threshold == held
    assert protocol(folds=5).threshold == held.replace(
        " for",
        ", and the fit normals, each scored by a fit without its fold of 5 [@vovk2015cross; @barber2021jackknife], for",
    )
    assert protocol(thresholds=(None, None)).threshold == (
        "none: too few calibration normals for a promised false-positive rate of 0.05 (19 for 5%)"
    )
    assert protocol(thresholds=(1.0, None)).threshold.startswith(f"{held}; null where")
