"""A scorer is told what it must know of the representation, and what it cannot judge is refused before any work."""

import pytest
import torch
from configs import composed
from hydra.utils import instantiate

from diffect.data.batches import zeros
from diffect.data.sample import IMAGE
from diffect.detector.predictor import Predictor
from diffect.training import build


def built(*overrides: str) -> Predictor:
    cfg = composed("train", "data.category=brick", *overrides)
    blank = zeros(IMAGE, (64, 96))
    return build.build(cfg, ["brick"], blank, instantiate(cfg.representation), "0123456789ab").predictor


def test_each_scale_of_the_pyramid_has_its_components() -> None:
    detector = built("denoiser=conv", "scorer.scales=separate", "scorer.metric=mahalanobis", "scorer.levels=[0,2]")
    assert detector.scorer.components == 6  # 2 log-SNRs, 3 levels of the backbone
    assert detector.anomaly_map.scale.shape == (1, 6)
    state = detector.state_dict()
    assert state["scorer.whitening"].shape == (2, 232, 232) and state["scorer.mean"].shape == (2, 232)
    x0 = torch.randn(2, 232, 8, 12, generator=torch.Generator().manual_seed(0))
    batch = {"raw": x0, "label": torch.zeros(2, dtype=torch.int64), "key": torch.tensor([3, 4])}
    detector.eval()
    with torch.no_grad():
        assert detector.components(batch).shape == (2, 6, 8, 12)


def test_pixels_are_a_pyramid_of_one_level() -> None:
    detector = built("representation=pixels", "scorer.scales=separate", "denoiser=gaussian")
    assert detector.scorer.components == len(detector.scorer.levels)


@pytest.mark.parametrize("scorer", ["denoising", "density", "likelihood", "inversion", "reconstruction"])
def test_every_scorer_is_built_with_a_closed_form_at_any_range(scorer: str) -> None:
    detector = built(f"scorer={scorer}", "denoiser=gaussian", "representation=pixels", "schedule.log_snr_range=[-1,1]")
    assert detector.anomaly_map.scale.shape == (1, detector.scorer.components)


def test_levels_where_the_denoiser_is_never_trained_are_refused() -> None:
    with pytest.raises(
        ValueError,
        match=r"scorer\.levels has log-SNR 9, where the denoiser is never trained; "
        r"the schedule reaches from -5 to 7",
    ):
        built("denoiser=conv", "scorer.levels=[1,9]")


def test_a_density_that_a_network_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"scorer=density needs a denoiser whose density is known"):
        built("denoiser=conv", "scorer=density")


def test_without_a_denoiser_a_scorer_that_does_not_learn_is_refused() -> None:
    with pytest.raises(ValueError, match="denoiser=none leaves the scorer DenoisingError nothing to score with"):
        built("denoiser=none")
