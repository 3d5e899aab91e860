"""Loss weights are what their names say: the losses of the papers, written as weights on the eps error.

With t uniform the expected loss depends on p(log_snr) w(log_snr) alone, and `matched` fixes that product.
"""

import pytest
import torch
from torch import Tensor

from diffect.diffusion.process import add_noise, alpha_sigma, training_target
from diffect.diffusion.schedules import EDM, Cosine, Laplace, Linear, NoiseSchedule, RectifiedFlow, Sigmoid
from diffect.diffusion.weights import X0, Eps, LossWeight, Matched, MinSNR, V, effective_weight
from diffect.diffusion.weights import Sigmoid as SigmoidWeight

SCHEDULES = {"cosine": Cosine, "linear": Linear, "sigmoid": Sigmoid, "edm": EDM, "flow": RectifiedFlow}
LEVELS = torch.linspace(-6, 8, 29, dtype=torch.float64)


def errors(level: float) -> dict[str, Tensor]:
    """Mean squared errors of one and the same guess x0_hat, in eps, v and x0."""
    generator = torch.Generator().manual_seed(0)
    x0, eps, wrong = (torch.randn(8, 3, 4, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    log_snr = torch.full((8,), level, dtype=torch.float64)
    alpha, sigma = alpha_sigma(log_snr, x0)
    x_t = add_noise(x0, eps, log_snr)
    guess = {"x0": x0 + 0.1 * wrong}
    guess["eps"] = (x_t - alpha * guess["x0"]) / sigma
    guess["v"] = alpha * guess["eps"] - sigma * guess["x0"]
    return {n: (training_target(x0, eps, log_snr, n) - g).square().mean() for n, g in guess.items()}


def kind(weight: object) -> str:
    return type(weight).__name__


@pytest.mark.parametrize(("name", "weight"), [("eps", Eps()), ("x0", X0()), ("v", V())])
def test_the_weighted_eps_error_is_the_error_of_the_parametrisation(name: str, weight: LossWeight) -> None:
    for level in (-6.0, -1.0, 0.0, 2.5, 8.0):
        found = errors(level)
        factor = weight(torch.tensor([level], dtype=torch.float64), Cosine())
        assert (factor * found["eps"]).item() == pytest.approx(found[name].item(), rel=1e-10)


def test_min_snr_caps_the_snr_of_the_x0_loss() -> None:
    snr = LEVELS.exp()
    on_x0_loss = torch.minimum(snr, torch.tensor(5.0))  # Hang et al. 2023, eq. 8
    assert torch.allclose(MinSNR(5.0)(LEVELS, Cosine()), on_x0_loss / snr, rtol=1e-12)
    assert MinSNR(5.0)(torch.tensor([-3.0]), Cosine()).item() == 1  # where noise is strong it is the eps loss


def test_the_sigmoid_weight_is_a_sigmoid_of_the_bias_less_log_snr() -> None:
    expected = 1 / (1 + torch.exp(LEVELS - 2))
    assert torch.allclose(SigmoidWeight(2.0)(LEVELS, Cosine()), expected, rtol=1e-12)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("target", [Cosine(), Laplace(mu=1.0, b=1.0)])
def test_matched_makes_p_w_the_targets_whatever_the_schedule(name: str, target: NoiseSchedule) -> None:
    schedule = SCHEDULES[name]()
    levels = torch.linspace(-5, 7, 241, dtype=torch.float64)
    product = schedule.density(levels) * Matched(target)(levels, schedule)
    assert torch.allclose(product, target.density(levels), rtol=1e-9, atol=0)
    assert torch.allclose(effective_weight(levels, schedule, Matched(target)), target.density(levels), rtol=2e-3)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_expected_loss_under_matched_is_the_targets(name: str) -> None:
    schedule, target = SCHEDULES[name](), Cosine()
    t = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000

    def loss(log_snr: Tensor) -> Tensor:  # some error that depends on the level
        return torch.sigmoid(log_snr / 2 - 1) + 0.1 * torch.cos(log_snr)

    log_snr = schedule.log_snr(t)
    under_schedule = (Matched(target)(log_snr, schedule) * loss(log_snr)).mean()
    assert under_schedule.item() == pytest.approx(loss(target.log_snr(t)).mean().item(), rel=1e-4)
    unweighted = loss(log_snr).mean()
    assert name == "cosine" or abs(unweighted - under_schedule) > 1e-3  # the weight is needed


@pytest.mark.parametrize("endpoints", ["native", "matched", "affine"])
@pytest.mark.parametrize("weight", [Eps(), X0(), V(), MinSNR(), SigmoidWeight(), Matched(Cosine())], ids=kind)
@pytest.mark.parametrize("family", [Cosine, Linear, Sigmoid, RectifiedFlow])
def test_the_effective_weight_integrates_to_one(
    family: type[NoiseSchedule], weight: LossWeight, endpoints: str
) -> None:
    schedule = family(endpoints=endpoints)
    low, high = schedule.reach
    levels = torch.linspace(low, high, 7001, dtype=torch.float64)
    found = effective_weight(levels, schedule, weight)
    assert (found >= 0).all()
    assert torch.trapezoid(found, levels).item() == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize("weight", [Eps(), X0(), V(), MinSNR(), SigmoidWeight(), Matched(Cosine())], ids=kind)
def test_weights_keep_shape_and_precision(weight: LossWeight) -> None:
    found = weight(LEVELS.clamp(-5, 7), Cosine())
    assert found.shape == LEVELS.shape and found.dtype == torch.float64
    assert torch.isfinite(found).all() and (found >= 0).all()


@pytest.mark.parametrize("gamma", [0.0, -5.0])
def test_a_gamma_that_is_not_positive_is_refused(gamma: float) -> None:
    with pytest.raises(ValueError, match=rf"MinSNR\.gamma is {gamma}; it must be a number"):
        MinSNR(gamma)
