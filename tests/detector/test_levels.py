"""The figures of a scoring level are those of a detector that is calibrated at this level alone."""

import pytest
import torch
from small_detector import CATEGORIES, batch, calibrate, make, rows

from diffect.detector.calibration import Calibration
from diffect.detector.evaluation import components_by_level
from diffect.scorers.base import Origin
from diffect.scorers.denoising import DenoisingError
from diffect.scorers.density import Density
from diffect.scorers.inversion import Inversion


def test_each_level_says_what_it_alone_would() -> None:
    levels = (2.0, -1.0)
    both = make(scorer=DenoisingError([3], levels)).eval()
    normal, tested = batch(8, seed=3), batch(12, seed=4)
    calibrate(both, [normal])
    with torch.no_grad():
        both.test_step(rows(tested, slice(0, 5)), 0)
        both.test_step(rows(tested, slice(5, 12)), 1)
    found = both.tally.by_level()
    assert list(found) == list(CATEGORIES)
    for level in levels:
        alone = make(scorer=DenoisingError([3], (level,))).eval()
        calibrate(alone, [normal])
        with torch.no_grad():
            alone.test_step(tested, 0)
        for category, evaluation in zip(
            CATEGORIES, alone.tally.evaluations([Calibration([], [], 0.05)] * 2), strict=True
        ):
            (told,) = (row for row in found[category] if row["log_snr"] == level)
            for name in ("image_auroc", "pixel_aupro_30"):
                assert told[name] == pytest.approx(evaluation.metrics[name], abs=1e-6)
        assert alone.tally.by_level() == {}  # one level is the whole, and nothing more to tell
    assert [row["log_snr"] for row in found["brick"]] == sorted(levels)


def test_components_of_several_scales_belong_to_their_level() -> None:
    scorer = DenoisingError([3, 2, 4], (-1.0, 1.0), scales="separate")
    assert components_by_level(scorer) == {-1.0: [0, 1, 2], 1.0: [3, 4, 5]}
    assert components_by_level(Inversion([3])) == {}


def test_every_component_has_an_origin_and_a_name() -> None:
    separate = DenoisingError([3, 2], (-1.0, 3.0), scales="separate")
    assert [origin.name for origin in separate.origins] == [
        *("scale 1, log-SNR -1", "scale 2, log-SNR -1"),
        *("scale 1, log-SNR 3", "scale 2, log-SNR 3"),
    ]
    assert [origin.name for origin in DenoisingError([3, 2], (1.5,)).origins] == ["log-SNR 1.5"]
    assert [origin.name for origin in Density([3], (2.0, 4.0)).origins] == ["log-SNR 2", "log-SNR 4"]
    assert [origin.name for origin in Inversion([3]).origins] == ["all levels"]
    assert Origin(head=True).name == "head"
