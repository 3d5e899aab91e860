"""Every scorer gives finite components on any grid, independent of the batch, and refuses what it cannot score."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from scoring import CLOSED_FORMS, NETWORKS, always, denoiser, features, keyed
from torch import Tensor

from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.process import Denoise
from diffect.scorers.base import Scorer
from diffect.scorers.denoising import DenoisingError
from diffect.scorers.density import Density
from diffect.scorers.inversion import Inversion
from diffect.scorers.likelihood import Likelihood
from diffect.scorers.reconstruction import Reconstruction

SCORERS: dict[str, Scorer] = {
    "denoising": DenoisingError([4], (-1.0, 1.0, 3.0), draws=2),
    "one level": DenoisingError([4], (0.5,)),
    "no noise": DenoisingError([4], (0.5,), draws=0),
    "mahalanobis": DenoisingError([3, 1], (1.0, 4.0), metric="mahalanobis"),
    "separate": DenoisingError([3, 1], (1.0, 4.0), metric="mahalanobis", scales="separate"),
    "l1": Reconstruction([4], steps=3, distance="l1"),
    "l2": Reconstruction([4], steps=3, distance="l2"),
    "cosine": Reconstruction([4], steps=3, distance="cosine"),
    "ssim": Reconstruction([4], steps=3, distance="ssim"),
    "guided": Reconstruction([4], steps=3, guidance=0.5, draws=2),
    "density": Density([4], (2.0, 6.0)),
    "likelihood": Likelihood([4], steps=5),
    "inversion": Inversion([4]),
    "typicality": Inversion([4], steps=2, statistic="typicality"),
}
COMPONENTS = {"denoising": 3, "mahalanobis": 2, "separate": 4, "density": 2}
PAIRS = [(kind, name) for name in SCORERS for kind in CLOSED_FORMS + (() if name == "density" else NETWORKS)]


@pytest.mark.parametrize("name", SCORERS)
def test_a_scorer_gives_its_number_of_components_on_grids_of_any_two_sides(name: str) -> None:
    scorer, x0 = SCORERS[name], features(3, 6, 11)
    found = scorer(denoiser("stored", 6, 11), x0, torch.tensor([0, 2, 1]), keyed(3))
    assert found.shape == (3, COMPONENTS.get(name, 1), 6, 11) and found.shape[1] == scorer.components
    assert torch.isfinite(found).all() and found.dtype == torch.float32


@pytest.mark.parametrize(("kind", "name"), PAIRS)
@torch.no_grad()
def test_shuffling_or_splitting_the_batch_leaves_each_score_unchanged(kind: str, name: str) -> None:
    x0, label, noise = features(6), torch.arange(6) % 3, keyed(6)

    def components(rows: Tensor) -> Tensor:
        return SCORERS[name](denoiser(kind), x0[rows], label[rows], ImageNoise(0, noise.keys[rows]))

    whole = components(torch.arange(6))
    assert whole.mean((1, 2, 3)).unique().numel() == 6
    order = torch.tensor([4, 2, 5, 0, 1, 3])
    for found in (components(order), torch.cat([components(order[:1]), components(order[1:4]), components(order[4:])])):
        assert (found - whole[order]).abs().max() < 1e-5 * whole.abs().max()


@pytest.mark.parametrize("name", SCORERS)
def test_a_closed_form_is_asked_at_any_level_and_a_network_where_it_was_trained(name: str) -> None:
    for kind in CLOSED_FORMS:
        SCORERS[name].check(denoiser(kind), 0.1, 0.2)
    if name != "density":
        SCORERS[name].check(denoiser("conv"), -5.0, 7.0)
        with pytest.raises(ValueError, match=r"has log-SNR .*; the schedule reaches from 0\.1 to 0\.2"):
            SCORERS[name].check(denoiser("conv"), 0.1, 0.2)


# Bad settings

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "no level": (
        lambda: DenoisingError([4], []),
        r"DenoisingError\.levels is \[\]; it must be a list of log-SNRs between -20 and 20",
    ),
    "step number": (
        lambda: DenoisingError([4], [250]),
        r"DenoisingError\.levels is \[250\]; it must be a list of log-SNRs between -20 and 20",
    ),
    "not a number": (lambda: DenoisingError([4], [math.nan]), r"DenoisingError\.levels is \[nan\]"),
    "no draw": (
        lambda: DenoisingError([4], draws=-1),
        r"DenoisingError\.draws is -1; it must be a whole number",
    ),
    "metric": (
        lambda: DenoisingError([4], metric="l1"),
        r"DenoisingError\.metric is 'l1'; it must be plain or mahalanobis",
    ),
    "pyramid": (
        lambda: DenoisingError([4], scales="all"),
        r"DenoisingError\.scales is 'all'; it must be fused",
    ),
    "shrinkage": (
        lambda: DenoisingError([4], shrinkage=0),
        r"DenoisingError\.shrinkage is 0; it must be a number",
    ),
    "no residual": (
        lambda: DenoisingError([4], (14.0,), draws=0, metric="mahalanobis").fit(
            always(features(2)), [(features(2), torch.zeros(2), keyed(2))]
        ),
        r"scorer\.metric is mahalanobis, but at log-SNR 14 the denoiser makes no error on the images that it was",
    ),
    "level never trained": (
        lambda: DenoisingError([4], [-7.5, 1]).check(denoiser("conv"), -5.0, 7.0),
        r"scorer\.levels has log-SNR -7\.5, where the denoiser is never trained; "
        r"the schedule reaches from -5 to 7",
    ),
    "start never trained": (
        lambda: Reconstruction([4], start=-6).check(denoiser("conv"), -5.0, 7.0),
        r"scorer\.start and scorer\.stop has log-SNR -6, where",
    ),
    "density of a network": (
        lambda: Density([4]).check(denoiser("conv"), -5.0, 7.0),
        r"scorer=density needs a denoiser whose density is known, not a LearnedDenoiser; allowed: "
        r"denoiser=gaussian, denoiser=empirical",
    ),
    "no step": (
        lambda: Reconstruction([4], steps=0),
        r"Reconstruction\.steps is 0; it must be a whole number",
    ),
    "start after stop": (lambda: Reconstruction([4], start=5, stop=5), r"scorer\.start is 5: it must lie below"),
    "start out of range": (
        lambda: Reconstruction([4], start=-30),
        r"Reconstruction\.start is -30; it must be",
    ),
    "distance": (
        lambda: Reconstruction([4], distance="lpips"),
        r"Reconstruction\.distance is 'lpips'; it must be l1, l2, cosine or ssim",
    ),
    "guidance": (
        lambda: Reconstruction([4], guidance=-1),
        r"Reconstruction\.guidance is -1; it must be a number",
    ),
    "density at a step number": (lambda: Density([4], [250]), r"Density\.levels is \[250\]"),
    "no range": (lambda: Likelihood([4], low=3, high=3), r"scorer\.low is 3: it must lie below scorer\.high, 3"),
    "range": (lambda: Likelihood([4], high=30), r"Likelihood\.high is 30; it must be"),
    "one level of an integral": (
        lambda: Likelihood([4], steps=1),
        r"Likelihood\.steps is 1; it must be a whole number, 2 or more",
    ),
    "inversion upwards": (lambda: Inversion([4], -5, 5), r"scorer\.start is -5: it must lie above scorer\.stop, 5"),
    "inversion in no step": (
        lambda: Inversion([4], steps=0),
        r"Inversion\.steps is 0; it must be a whole number",
    ),
    "statistic": (
        lambda: Inversion([4], statistic="norm"),
        r"Inversion\.statistic is 'norm'; it must be density or typicality",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_scored_is_refused_with_a_sentence(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()


def test_a_scorer_needs_nothing_but_forward() -> None:
    class Norm(Scorer):
        """The squared norm of x0. It asks nothing of the denoiser."""

        def forward(self, denoiser: Denoise, x0: Tensor, label: Tensor | None, noise: ImageNoise) -> Tensor:
            return x0.square().mean(1, keepdim=True)

    scorer, x0 = Norm([3, 1]), features(2)
    scorer.check(denoiser("conv"), 0.1, 0.2)
    scorer.fit(denoiser("conv"), [(x0, torch.zeros(2, dtype=torch.int64), keyed(2))])
    assert scorer.reconstruct(denoiser("conv"), x0, None, keyed(2)) is None
    assert scorer.components == 1 and [origin.name for origin in scorer.origins] == ["all levels"]
    assert scorer.describe() == "The squared norm of x0"
