"""Schedules are strictly decreasing, invert exactly, have the density they sample from, and equal their oracles.

Oracles: diffusers' alphas_cumprod where the two mean the same object, scipy's quantile functions, and the papers'
formulas written out here. Inside the range, t comes back to 1e-9.
"""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from diffect.diffusion.diffusers import from_diffusers, to_diffusers
from diffect.diffusion.schedules import (
    CUT,
    EDM,
    Cosine,
    DiscreteProduct,
    Laplace,
    Linear,
    NoiseSchedule,
    RectifiedFlow,
    ScaledLinear,
    Shifted,
    Sigmoid,
    Uniform,
    ZeroTerminalSNR,
    curves,
)

RANGE = (-5.0, 7.0)
MAKERS = {
    "linear": Linear,
    "scaled_linear": ScaledLinear,
    "cosine": Cosine,
    "cosine without offset": lambda **k: Cosine(s=0.0, **k),
    "sigmoid": Sigmoid,
    "sigmoid, sharp": lambda **k: Sigmoid(start=-3.0, end=3.0, tau=0.7, **k),
    "sigmoid, one-sided": lambda **k: Sigmoid(start=0.0, end=3.0, tau=0.3, **k),
    "laplace": Laplace,
    "laplace, off centre": lambda **k: Laplace(mu=1.0, b=1.0, **k),
    "edm": EDM,
    "rectified_flow": RectifiedFlow,
    "uniform": Uniform,
    "shifted cosine": lambda **k: Shifted(Cosine(), size=256, **k),
    "shifted linear": lambda **k: Shifted(Linear(), size=128, base_size=64, **k),
    "zero-terminal scaled_linear": lambda **k: ZeroTerminalSNR(ScaledLinear(), **k),
    "zero-terminal linear": lambda **k: ZeroTerminalSNR(Linear(), **k),
    "shifted zero-terminal": lambda **k: Shifted(ZeroTerminalSNR(ScaledLinear()), size=32, **k),
}


def grid(count: int = 2001) -> Tensor:
    return torch.linspace(0, 1, count, dtype=torch.float64)


@pytest.fixture(params=MAKERS, scope="module")
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["native", "matched", "affine"], scope="module")
def endpoints(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def schedule(name: str, endpoints: str) -> NoiseSchedule:
    return MAKERS[name](endpoints=endpoints, log_snr_range=RANGE)


def inside(schedule: NoiseSchedule, margin: float = 1e-6) -> Tensor:
    """Times at which log_snr is not cut."""
    t = grid()
    low, high = schedule.reach
    log_snr = schedule.log_snr(t)
    return t[(log_snr > low + margin) & (log_snr < high - margin)]


def test_log_snr_falls_strictly_and_stays_in_its_range(schedule: NoiseSchedule) -> None:
    low, high = schedule.reach
    assert low < high
    log_snr = schedule.log_snr(grid())
    assert log_snr.dtype == torch.float64
    assert torch.isfinite(log_snr).all()
    assert log_snr[0] == pytest.approx(high, abs=1e-9) and log_snr[-1] == pytest.approx(low, abs=1e-9)
    assert (log_snr >= low).all() and (log_snr <= high).all()
    t = inside(schedule)
    assert len(t) > 1900  # what is cut at +-20 is a sliver
    assert (schedule.log_snr(t).diff() < 0).all()


def test_time_inverts_log_snr_to_1e_9(schedule: NoiseSchedule) -> None:
    t = inside(schedule)
    assert (schedule.time(schedule.log_snr(t)) - t).abs().max() < 1e-9


def test_log_snr_inverts_time(schedule: NoiseSchedule) -> None:
    low, high = schedule.reach
    asked = torch.linspace(low, high, 1001, dtype=torch.float64)
    t = schedule.time(asked)
    # float64 holds t near 1 to 1e-16 only: where the density is tiny, that much of t is much of log_snr.
    tolerance = 1e-9 + 1e-14 / schedule.density(asked).clamp(min=1e-300)
    kept = tolerance < 1e-6
    assert kept.sum() > 150
    assert ((schedule.log_snr(t) - asked).abs() < tolerance)[kept].all()


def test_time_is_held_at_the_ends_beyond_the_range(schedule: NoiseSchedule) -> None:
    low, high = schedule.reach
    ends = schedule.time(torch.tensor([high, low], dtype=torch.float64))
    assert torch.equal(schedule.time(torch.tensor([high + 1, low - 1], dtype=torch.float64)), ends)
    # Where infinite ends are cut at +-20, the last sliver of t is beyond them.
    assert ends.tolist() == pytest.approx([0, 1], abs=1e-3 if schedule.endpoints != "matched" else 1e-9)
    assert schedule.density(torch.tensor([high + 1, low - 1])).tolist() == [0, 0]


def test_density_is_the_slope_of_time_and_integrates_to_one(schedule: NoiseSchedule) -> None:
    t = inside(schedule, margin=1e-3)
    log_snr = schedule.log_snr(t)
    slope = t.diff() / -log_snr.diff()
    middle = schedule.density((log_snr[1:] + log_snr[:-1]) / 2)
    central = (t[1:] > 0.02) & (t[1:] < 0.98)
    # 3%: beta is constant between the entries of a product, so its density has steps of that height.
    assert ((middle - slope).abs() / slope)[central].max() < 0.03
    low, high = schedule.reach
    # Quadrature over log_snr, on points as dense as the density.
    points = torch.unique(torch.cat([schedule.log_snr(grid(20001)), torch.linspace(low, high, 20001).double()]))
    total = torch.trapezoid(schedule.density(points), points)
    cut = 1 - (schedule.time(torch.tensor([low])) - schedule.time(torch.tensor([high])))  # mass at +-20
    assert total + cut == pytest.approx(1, abs=2e-4)


def test_density_equals_a_histogram_of_uniform_times(schedule: NoiseSchedule) -> None:
    count = 400_000
    t = (torch.arange(count, dtype=torch.float64) + 0.5) / count  # stratified: no sampling error to allow for
    log_snr = schedule.log_snr(t)
    low, high = schedule.reach
    sample = log_snr[(log_snr > low) & (log_snr < high)]
    share, edges = np.histogram(sample.numpy(), bins=40, range=(low, high))
    points = torch.from_numpy(np.linspace(edges[:-1], edges[1:], 101, axis=1))  # (bins, 101)
    expected = torch.trapezoid(schedule.density(points), points)
    assert np.abs(share / count - expected.numpy()).max() < 2e-4


def test_laplace_has_its_mode_where_the_paper_has_it() -> None:
    schedule = Laplace(mu=0.0, b=0.5, endpoints="native")
    assert schedule.density(torch.tensor([0.0])).item() == pytest.approx(1.0)
    assert curves(schedule)["density"].max() == pytest.approx(1.0)  # t = 1/2 falls on the kink


@pytest.mark.parametrize("name", MAKERS)
def test_matched_runs_over_the_common_range_exactly(name: str) -> None:
    schedule = MAKERS[name](endpoints="matched", log_snr_range=RANGE)
    assert schedule.reach == RANGE
    assert schedule.log_snr(torch.tensor([0.0, 1.0])).tolist() == pytest.approx([7.0, -5.0], abs=1e-9)
    assert schedule.time(torch.tensor([7.0, -5.0])).tolist() == pytest.approx([0.0, 1.0], abs=1e-9)


def test_matched_keeps_the_shape_of_the_curve_and_affine_does_not() -> None:
    native, matched, affine = (Cosine(endpoints=e) for e in ("native", "matched", "affine"))
    levels = torch.linspace(-4.9, 6.9, 50, dtype=torch.float64)
    ratio = matched.density(levels) / native.density(levels)
    assert ratio.std() < 1e-9 and ratio.mean() > 1
    stretched = affine.density(levels) / native.density(levels)
    assert stretched.std() > 0.1


def test_a_range_beyond_the_family_is_refused_with_a_sentence() -> None:
    message = r"schedule\.log_snr_range is \[-12, 7\], but Linear reaches only \[-10\.\d+, 20\.00\].*endpoints=affine"
    with pytest.raises(ValueError, match=message):
        Linear(log_snr_range=(-12, 7)).log_snr(grid(3))
    assert Linear(log_snr_range=(-12, 7), endpoints="affine").log_snr(torch.ones(1)).item() == -12


# Oracles


def test_linear_and_scaled_linear_equal_diffusers() -> None:
    from diffusers import DDPMScheduler

    for name, family in (("linear", Linear), ("scaled_linear", ScaledLinear)):
        given = {"beta_start": 0.00085, "beta_end": 0.012} if name == "scaled_linear" else {}
        oracle = DDPMScheduler(num_train_timesteps=1000, beta_schedule=name, **given).alphas_cumprod
        ours = family(endpoints="native").alphas_cumprod(1000)
        assert (ours - oracle.double()).abs().max() < 1e-6, name


def test_cosine_equals_diffusers_but_for_its_clipped_last_step() -> None:
    from diffusers import DDPMScheduler

    oracle = DDPMScheduler(num_train_timesteps=1000, beta_schedule="squaredcos_cap_v2").alphas_cumprod
    ours = Cosine(endpoints="native").alphas_cumprod(1000)
    assert (ours - oracle.double())[:-1].abs().max() < 1e-6


@pytest.mark.parametrize("base", [Linear, ScaledLinear])
def test_zero_terminal_equals_diffusers_rescaling(base: type[NoiseSchedule]) -> None:
    from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

    betas = rescale_zero_terminal_snr(base(endpoints="native").betas(1000))
    ours = ZeroTerminalSNR(base(), endpoints="native").alphas_cumprod(1000)
    assert (ours - torch.cumprod(1 - betas, 0)).abs().max() < 1e-4
    assert ours[-1] == pytest.approx(0, abs=3e-9)


def test_cosine_is_the_formula_of_the_paper() -> None:
    t = grid(101)[1:-1]
    f = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    expected = torch.log(f / (1 - f))
    assert (Cosine(endpoints="native").log_snr(t) - expected).abs().max() < 1e-9


def test_edm_has_the_quantiles_of_a_log_normal_sigma() -> None:
    t = grid(101)[1:-1]
    sigma = stats.lognorm(s=1.2, scale=math.exp(-1.2)).ppf(t.numpy())  # noise of data with deviation 0.5
    expected = 2 * np.log(0.5 / sigma)
    assert np.abs(EDM(endpoints="native").log_snr(t).numpy() - expected).max() < 1e-9
    levels = torch.linspace(-5, 7, 25).double()
    density = stats.norm(-2 * (-1.2 - math.log(0.5)), 2.4).pdf(levels.numpy())
    assert np.abs(EDM(endpoints="native").density(levels).numpy() - density).max() < 1e-9


@pytest.mark.parametrize(("mu", "b"), [(0.0, 0.5), (1.5, 2.0)])
def test_laplace_has_the_quantiles_and_density_of_scipy(mu: float, b: float) -> None:
    oracle, ours = stats.laplace(mu, b), Laplace(mu, b, endpoints="native")
    t = grid(101)[1:-1]
    assert np.abs(ours.log_snr(t).numpy() - oracle.isf(t.numpy())).max() < 1e-9
    levels = torch.linspace(-5, 7, 25).double()
    assert np.abs(ours.density(levels).numpy() - oracle.pdf(levels.numpy())).max() < 1e-9


def test_rectified_flow_has_the_ratio_of_its_straight_paths() -> None:
    t = grid(101)[1:-1]
    log_snr = RectifiedFlow(endpoints="native").log_snr(t)
    alpha, sigma = torch.sigmoid(log_snr).sqrt(), torch.sigmoid(-log_snr).sqrt()
    assert (alpha / sigma - (1 - t) / t).abs().max() < 1e-9


@pytest.mark.parametrize(("start", "end", "tau"), [(-3.0, 3.0, 1.0), (0.0, 3.0, 0.7), (-3.0, 3.0, 0.9)])
def test_sigmoid_is_gamma_of_chen_2023(start: float, end: float, tau: float) -> None:
    def gamma(t: float) -> float:  # algorithm 1, sigmoid_schedule, without its clip
        first, last = (1 / (1 + math.exp(-x / tau)) for x in (start, end))
        here = 1 / (1 + math.exp(-((t * (end - start) + start) / tau)))
        return (last - here) / (last - first)

    t = grid(101)[1:-1]
    expected = torch.tensor([gamma(float(x)) for x in t], dtype=torch.float64)
    assert (torch.sigmoid(Sigmoid(start, end, tau, endpoints="native").log_snr(t)) - expected).abs().max() < 1e-12


def test_sigmoid_is_finite_at_its_ends_for_any_temperature() -> None:
    for tau in np.linspace(0.11, 3, 200):
        for start, end in ((-3.0, 3.0), (0.0, 3.0), (-3.0, 0.1)):
            ends = Sigmoid(start, end, float(tau), endpoints="native").log_snr(torch.tensor([0.0, 1.0]))
            assert ends.tolist() == [CUT, -CUT], (tau, start, end)


def test_shifted_adds_a_constant() -> None:
    base = Cosine(endpoints="native")
    shifted = Shifted(Cosine(), size=256, base_size=64, endpoints="native")
    t = grid(201)[1:-1]
    assert (shifted.log_snr(t) - base.log_snr(t) - 2 * math.log(64 / 256)).abs().max() < 1e-12
    # The base's own end points play no part: the wrapper's rule.
    other = Shifted(Cosine(endpoints="affine", log_snr_range=(-1, 1)), size=256, endpoints="native")
    assert torch.equal(other.log_snr(t), shifted.log_snr(t))


def test_zero_terminal_moves_alpha_linearly_and_keeps_the_clean_end() -> None:
    base = ScaledLinear(endpoints="native")
    ours = ZeroTerminalSNR(ScaledLinear(), endpoints="native")
    t = grid(101)
    alpha, moved = (torch.sigmoid(s.log_snr(t)).sqrt() for s in (base, ours))
    assert (moved - (alpha - alpha[-1]) / (1 - alpha[-1])).abs().max() < 1e-4
    assert ours.reach == (-CUT, CUT)


# Discrete sequences and diffusers' schedulers


def test_betas_and_alphas_cumprod_agree(schedule: NoiseSchedule) -> None:
    betas, alpha2 = schedule.betas(50), schedule.alphas_cumprod(50)
    assert betas.shape == alpha2.shape == (50,)
    assert ((betas > 0) & (betas < 1)).all()
    assert (torch.cumprod(1 - betas, 0) - alpha2).abs().max() < 1e-12
    assert alpha2[24].item() == pytest.approx(torch.sigmoid(schedule.log_snr(torch.tensor(0.5))).item(), abs=1e-12)


def test_a_product_runs_through_its_own_entries() -> None:
    betas = torch.linspace(0.01, 0.3, 20, dtype=torch.float64)
    schedule = DiscreteProduct(betas, endpoints="native")
    assert (schedule.alphas_cumprod(20) - torch.cumprod(1 - betas, 0)).abs().max() < 1e-12
    assert (schedule.betas(20) - betas).abs().max() < 1e-12


@pytest.mark.parametrize("family", [Linear, Cosine, Sigmoid, EDM, RectifiedFlow])
@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_a_schedule_goes_to_diffusers_and_comes_back(family: type[NoiseSchedule], prediction: str) -> None:
    schedule = family()
    scheduler = to_diffusers(schedule, 1000, prediction)
    assert (scheduler.alphas_cumprod.double() - schedule.alphas_cumprod(1000)).abs().max() < 2e-5
    assert scheduler.config.prediction_type == {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}[prediction]
    assert scheduler.config.clip_sample is False and scheduler.config.timestep_spacing == "trailing"
    back = from_diffusers(scheduler)
    t = (torch.arange(1, 1001, dtype=torch.float64)) / 1000
    assert (torch.sigmoid(back.log_snr(t)) - schedule.alphas_cumprod(1000)).abs().max() < 2e-5


@pytest.mark.parametrize("kind", ["DDIMScheduler", "DDPMScheduler"])
@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_a_diffusers_scheduler_comes_over_and_goes_back(kind: str, beta_schedule: str) -> None:
    import diffusers

    scheduler = getattr(diffusers, kind)(num_train_timesteps=400, beta_schedule=beta_schedule)
    schedule = from_diffusers(scheduler)
    assert (schedule.alphas_cumprod(400) - scheduler.alphas_cumprod.double()).abs().max() < 2e-6
    again = to_diffusers(schedule, 400)
    assert (again.alphas_cumprod - scheduler.alphas_cumprod).abs().max() < 2e-6


# Bad arguments

REFUSED = {
    "endpoints": (
        lambda: Cosine(endpoints="both"),
        r"Cosine\.endpoints is 'both'; it must be native",
    ),
    "range order": (lambda: Cosine(log_snr_range=(7, -5)), r"schedule\.log_snr_range is \[7, -5\]"),
    "range length": (lambda: Cosine(log_snr_range=(7,)), r"schedule\.log_snr_range"),
    "cosine s": (lambda: Cosine(s=-0.1), r"Cosine\.s is -0\.1; it must be a number"),
    "sigmoid tau": (lambda: Sigmoid(tau=0), r"Sigmoid\.tau is 0; it must be a number"),
    "sigmoid ends": (lambda: Sigmoid(start=3, end=-3), r"schedule\.start is 3; it must lie below schedule\.end, -3"),
    "laplace b": (lambda: Laplace(b=0), r"Laplace\.b is 0; it must be a number"),
    "edm p_std": (lambda: EDM(p_std=0), r"EDM\.p_std is 0; it must be a number"),
    "edm sigma_data": (lambda: EDM(sigma_data=-1), r"EDM\.sigma_data is -1; it must be a number"),
    "shifted size": (lambda: Shifted(Cosine(), size=0), r"Shifted\.size is 0; it must be a number"),
    "betas": (lambda: DiscreteProduct([0.1, 1.0]), "strictly between 0 and 1"),
    "no betas": (lambda: DiscreteProduct([]), "strictly between 0 and 1"),
    "linear beta": (lambda: Linear(beta_end=1.5), r"Linear\.beta_end is 1\.5; it must be a number"),
    "t above": (
        lambda: Cosine().log_snr(torch.tensor([0.5, 1.1])),
        r"t must lie in \[0, 1\]; it reaches from 0\.5 to 1\.1",
    ),
    "t not a number": (lambda: Cosine().log_snr(torch.tensor([math.nan])), r"t must lie in \[0, 1\]"),
    "prediction": (lambda: to_diffusers(Cosine(), 10, "score"), "'score'; allowed: eps, v, x0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_arguments_are_refused_with_a_sentence(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()
