"""The forward process, the objective, image-keyed noise and DDIM do what their formulas say.

The oracle is Gaussian data, whose best denoiser is known: k-step DDIM has a discrete closed form there, for N(0, I)
the product of the cosines of its angle steps. The second oracle is diffusers' DDIMScheduler, at levels they share.
"""

import hashlib
import math
from itertools import pairwise

import pytest
import torch
from gaussian import Gaussian, wide
from torch import Tensor

from diffect.denoisers.base import Network
from diffect.denoisers.learned import LearnedDenoiser
from diffect.diffusion.diffusers import to_diffusers
from diffect.diffusion.noise import ImageNoise, seed_of
from diffect.diffusion.objective import Objective, TrainingNoise
from diffect.diffusion.process import add_noise, alpha_sigma, eps_error_factor, output_to_x0, training_target
from diffect.diffusion.samplers import ddim
from diffect.diffusion.schedules import EDM, Cosine, Linear, RectifiedFlow
from diffect.diffusion.weights import MinSNR, V

PREDICTIONS = ("eps", "v", "x0")
LEVELS = torch.tensor([-8.0, -3.0, -0.5, 0.0, 1.0, 4.0, 8.0], dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# The forward process and the three predictions


def test_alpha_and_sigma_are_the_variance_preserving_pair_of_log_snr() -> None:
    alpha, sigma = alpha_sigma(LEVELS, normal(7, 3, 2, 2))
    assert alpha.shape == sigma.shape == (7, 1, 1, 1)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones_like(alpha), atol=1e-14)
    assert torch.allclose(torch.log(alpha**2 / sigma**2).flatten(), LEVELS, atol=1e-10)
    half, _ = alpha_sigma(LEVELS.float(), normal(7, 3, 2, 2).half())
    assert half.dtype == torch.float16


def test_noised_data_keep_unit_variance() -> None:
    x0, eps = normal(7, 3, 64, 64), normal(7, 3, 64, 64, seed=1)
    assert add_noise(x0, eps, LEVELS).var(dim=(1, 2, 3)).numpy() == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_x0_comes_back_from_the_training_target(prediction: str) -> None:
    x0, eps = normal(7, 3, 4, 4), normal(7, 3, 4, 4, seed=1)
    x_t = add_noise(x0, eps, LEVELS)
    target = training_target(x0, eps, LEVELS, prediction)
    assert (output_to_x0(target, x_t, LEVELS, prediction) - x0).abs().max() < 1e-10


class Answer(Network):
    """A network that answers one fixed tensor."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor:
        return self.answer


def test_the_loss_of_one_guess_is_the_same_whatever_the_network_predicts() -> None:
    x0, eps, wrong = (normal(7, 3, 4, 4, seed=seed) for seed in range(3))
    guess = x0 + 0.2 * wrong
    noise = TrainingNoise(LEVELS, eps, MinSNR()(LEVELS, Cosine()), torch.ones(7))
    x_t = add_noise(x0, eps, LEVELS)
    alpha, sigma = alpha_sigma(LEVELS, x0)
    guessed_eps = (x_t - alpha * guess) / sigma
    expected = noise.weight * (eps - guessed_eps).square().mean((1, 2, 3))
    answers = {"x0": guess, "eps": guessed_eps, "v": alpha * guessed_eps - sigma * guess}
    for prediction, answer in answers.items():
        denoiser = LearnedDenoiser(lambda answer=answer, **_: Answer(answer), (3, 4, 4), prediction=prediction)
        found = denoiser.loss(x0, None, noise)
        assert torch.allclose(found.double(), expected, rtol=1e-4), prediction  # the error is taken in float32
        assert torch.allclose(denoiser(x_t, LEVELS), guess, atol=1e-9), prediction


def test_the_factor_turns_an_error_of_the_target_into_an_eps_error() -> None:
    ones = torch.ones(7, dtype=torch.float64)
    assert torch.equal(eps_error_factor(LEVELS, "eps"), ones)
    assert torch.allclose(eps_error_factor(LEVELS, "v"), 1 / (1 + torch.exp(-LEVELS)))
    assert torch.allclose(eps_error_factor(LEVELS, "x0"), torch.exp(LEVELS))


# The objective


@pytest.mark.parametrize("batch", [1, 7, 64])
def test_a_batch_has_exactly_one_t_in_each_stratum(batch: int) -> None:
    schedule = RectifiedFlow()
    objective = Objective(schedule, V())
    for seed in range(20):
        noise = objective.sample(torch.zeros(batch, 2, 3, 3), torch.Generator().manual_seed(seed))
        t = schedule.time(noise.log_snr.double())
        strata = (t * batch - 1e-3 * (t * batch % 1 - 0.5)).floor()  # log_snr is float32: edges may move a hair
        assert strata.sort().values.tolist() == list(range(batch))


def test_t_is_uniform_over_the_batch_and_at_each_place_of_it() -> None:
    schedule, batch, draws = RectifiedFlow(), 8, 2000
    objective, generator = Objective(schedule, V()), torch.Generator().manual_seed(0)
    x0 = torch.zeros(batch, 1, 1, 1)
    t = torch.stack([schedule.time(objective.sample(x0, generator).log_snr.double()) for _ in range(draws)])
    # Stratified: the mean of a batch has deviation 1 / sqrt(12) / batch^1.5, 20 times less than independent t.
    assert t.mean(1).std().item() == pytest.approx(12**-0.5 / batch**1.5, rel=0.1)
    assert t.mean().item() == pytest.approx(0.5, abs=4 * 12**-0.5 / batch**1.5 / draws**0.5)
    # No place in the batch is bound to a level.
    assert (t.mean(0) - 0.5).abs().max() < 4 * 12**-0.5 / draws**0.5
    assert (t.std(0) - 12**-0.5).abs().max() < 0.02


def test_a_draw_is_a_function_of_the_generator_and_carries_the_weight() -> None:
    schedule, weight = EDM(), MinSNR()
    objective, x0 = Objective(schedule, weight), torch.zeros(16, 3, 8, 8)
    one, same, other = (objective.sample(x0, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    assert torch.equal(one.log_snr, same.log_snr) and torch.equal(one.eps, same.eps)
    assert torch.equal(one.coin, same.coin)
    assert not torch.equal(one.log_snr, other.log_snr) and not torch.equal(one.eps, other.eps)
    assert torch.allclose(one.weight, weight(one.log_snr.double(), schedule).float(), rtol=1e-5)
    assert one.eps.std().item() == pytest.approx(1, abs=0.05)
    assert one.log_snr.dtype == one.weight.dtype == torch.float32


def test_the_coin_is_uniform_and_independent_of_the_noise() -> None:
    x0 = torch.zeros(4096, 1, 2, 2)
    noise = Objective(Cosine(), V()).sample(x0, torch.Generator().manual_seed(0))
    assert noise.coin.mean().item() == pytest.approx(0.5, abs=4 * 12**-0.5 / 64)
    for other in (noise.log_snr, *noise.eps.flatten(1).T):
        assert abs(torch.corrcoef(torch.stack([noise.coin, other]))[0, 1]) < 4 / 64


def test_fixed_noise_depends_on_the_image_and_the_draw_alone() -> None:
    objective = Objective(Cosine(), V())
    keys = torch.tensor([11, 22, 33])
    x0 = torch.zeros(3, 2, 4, 4)
    whole = objective.fixed(x0, ImageNoise(0, keys), draw=1, draws=4)
    alone = objective.fixed(x0[1:2], ImageNoise(0, keys[1:2]), draw=1, draws=4)
    assert torch.equal(whole.log_snr[1:2], alone.log_snr) and torch.equal(whole.eps[1:2], alone.eps)
    assert not torch.equal(whole.eps[0], whole.eps[1]) and whole.log_snr[0] != whole.log_snr[1]
    assert (whole.coin == 1).all()  # no sample that is judged loses its label


def test_the_fixed_draws_of_an_image_are_evenly_spaced_in_t() -> None:
    schedule = Cosine()
    objective, noise = Objective(schedule, V()), ImageNoise(3, torch.tensor([11, 22]))
    x0 = torch.zeros(2, 1, 2, 2)
    t = torch.stack([schedule.time(objective.fixed(x0, noise, draw, 5).log_snr.double()) for draw in range(5)])
    gaps = t.sort(0).values.diff(dim=0)
    assert torch.allclose(gaps, torch.full_like(gaps, 0.2), atol=1e-5)


# Image-keyed noise


def test_an_images_noise_is_the_same_in_any_batch() -> None:
    keys = torch.tensor([5, -7, 2**62, 0])
    x0 = torch.zeros(4, 3, 8, 8)
    whole = ImageNoise(0, keys)(x0, 1.0, 0)
    order = torch.tensor([2, 0, 3, 1])
    assert torch.equal(ImageNoise(0, keys[order])(x0, 1.0, 0), whole[order])
    split = [ImageNoise(0, keys[part])(x0[part], 1.0, 0) for part in (slice(0, 1), slice(1, 4))]
    assert torch.equal(torch.cat(split), whole)
    repeated = ImageNoise(0, keys[[1, 1]])(x0[:2], 1.0, 0)
    assert torch.equal(repeated[0], repeated[1]) and torch.equal(repeated[0], whole[1])


def test_noise_differs_between_seeds_keys_levels_and_draws() -> None:
    x0 = torch.zeros(1, 2, 16, 16)
    draws = [
        ImageNoise(seed, torch.tensor([key]))(x0, level, draw)
        for seed in (0, 1)
        for key in (3, 4)
        for level in (-1.0, 1.0, "selection")
        for draw in (0, 1)
    ]
    correlation = torch.corrcoef(torch.stack([draw.flatten() for draw in draws]))
    assert (correlation - torch.eye(len(draws))).abs().max() < 0.25  # 512 numbers: 4 deviations are 0.18
    assert torch.cat(draws).std().item() == pytest.approx(1, abs=0.03)


def test_noise_takes_the_shape_and_precision_of_the_image() -> None:
    noise = ImageNoise(0, torch.tensor([1, 2]))
    found = noise(torch.zeros(2, 3, 5, 5, dtype=torch.float64), 0.0, 0)
    assert found.shape == (2, 3, 5, 5) and found.dtype == torch.float64


def test_seeds_are_a_published_function_of_their_parts() -> None:
    # Written out with hashlib: a change here would silently change every score ever published.
    text = "0:17:1.0:2"
    expected = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1
    assert seed_of(0, 17, 1.0, 2) == expected == 7881826880915970507
    assert seed_of(1, "2") != seed_of(1, 2)


# DDIM


def cosines(levels: list[float]) -> float:
    """The product of the cosines of the angle steps, angle = arctan(sigma / alpha), the last going to 0."""
    angles = [math.atan(math.exp(-level / 2)) for level in levels] + [0.0]
    return math.prod(math.cos(a - b) for a, b in pairwise(angles))


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 50, 200])
def test_ddim_on_standard_normal_data_scales_by_the_cosines_of_its_angle_steps(steps: int) -> None:
    data = Gaussian(torch.zeros(3).double(), torch.ones(3).double())
    levels = torch.linspace(-6, 8, steps, dtype=torch.float64).tolist() if steps > 1 else [-6.0]
    x_t = normal(2, 3, 4, 4)
    found = ddim(data, x_t, None, levels)
    assert torch.allclose(found, cosines(levels) * x_t, atol=1e-12)
    if steps == 1:
        assert cosines(levels) == pytest.approx(math.exp(-3) / (1 + math.exp(-6)) ** 0.5)  # alpha itself
    if steps == 200:
        assert 0.95 < cosines(levels) < 1  # the identity in the limit, never before it


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 50])
def test_ddim_on_anisotropic_data_follows_its_discrete_closed_form(steps: int) -> None:
    data = Gaussian.anisotropic()
    levels = torch.linspace(-4, 6, steps, dtype=torch.float64).tolist() if steps > 1 else [-1.0]
    x_t = normal(2, 4, 3, 3)
    # With d = x_t - alpha mu, x0_hat = mu + k d and eps_hat = (1 - alpha k) / sigma d: each step scales d.
    factor = torch.ones(4, dtype=torch.float64)
    for here, there in zip(levels, [*levels[1:], math.inf], strict=True):
        alpha, sigma = (torch.sigmoid(torch.tensor(x, dtype=torch.float64)).sqrt() for x in (here, -here))
        alpha_next, sigma_next = (torch.sigmoid(torch.tensor(x, dtype=torch.float64)).sqrt() for x in (there, -there))
        gain = alpha * data.s**2 / (alpha**2 * data.s**2 + sigma**2)
        factor = factor * (alpha_next * gain + sigma_next * (1 - alpha * gain) / sigma)
    alpha = torch.sigmoid(torch.tensor(levels[0], dtype=torch.float64)).sqrt()
    expected = wide(data.mu) + wide(factor) * (x_t - alpha * wide(data.mu))
    assert torch.allclose(ddim(data, x_t, None, levels), expected, atol=1e-11)


def test_many_ddim_steps_turn_noise_into_the_data() -> None:
    data = Gaussian.anisotropic()
    levels = torch.linspace(-15, 15, 300, dtype=torch.float64).tolist()
    found = ddim(data, normal(200, 4, 8, 8), None, levels)
    assert torch.allclose(found.mean((0, 2, 3)), data.mu, atol=0.08)
    assert torch.allclose(found.std((0, 2, 3)), data.s, rtol=0.05)


@pytest.mark.parametrize("prediction", PREDICTIONS)
@pytest.mark.parametrize("schedule", [Linear(endpoints="native"), Cosine()], ids=["linear", "cosine"])
def test_ddim_agrees_with_diffusers_where_their_levels_coincide(prediction: str, schedule: Linear | Cosine) -> None:
    data, steps = Gaussian.anisotropic(), 50
    scheduler = to_diffusers(schedule, 1000, prediction)  # no clipping, the last step to alpha = 1
    scheduler.set_timesteps(steps)
    t = (scheduler.timesteps.double() + 1) / 1000
    assert torch.allclose(t.diff(), torch.tensor(-0.02).double())  # 1000 divides by 50: previous steps are true
    levels = schedule.log_snr(t)
    start = normal(2, 4, 3, 3)
    x = start.clone()
    for step, level in zip(scheduler.timesteps, levels, strict=True):
        log_snr = level.expand(2)
        x0_hat = data(x, log_snr)
        alpha, sigma = alpha_sigma(log_snr, x)
        eps_hat = (x - alpha * x0_hat) / sigma
        output = training_target(x0_hat, eps_hat, log_snr, prediction)
        x = scheduler.step(output, step, x, eta=0.0).prev_sample
    found = ddim(data, start, None, levels.tolist())
    assert (found - x).abs().max() < (2e-5 if prediction != "eps" else 1e-3)  # eps divides by a small float32 alpha


def test_guidance_pulls_each_step_towards_the_target() -> None:
    data, level = Gaussian.anisotropic(), 0.5
    x_t, target = normal(2, 4, 3, 3), normal(2, 4, 3, 3, seed=1) + 3
    free = ddim(data, x_t, None, [level])
    sigma2 = 1 / (1 + math.exp(level))
    for guidance in (0.3, 1.0):
        # eps_hat - g sigma (alpha y + sigma eps_hat - x_t) makes x0_hat + g sigma^2 (y - x0_hat).
        found = ddim(data, x_t, None, [level], target=target, guidance=guidance)
        assert torch.allclose(found, free + guidance * sigma2 * (target - free), atol=1e-12)
    levels = [-2.0, 0.0, 2.0, 4.0]
    distances = [
        (ddim(data, x_t, None, levels, target=target, guidance=g) - target).square().mean().item()
        for g in (0.0, 0.25, 0.5, 1.0)
    ]
    assert distances == sorted(distances, reverse=True) and distances[-1] < 0.8 * distances[0]
    unguided = ddim(data, x_t, None, levels, target=target, guidance=0.0)
    assert torch.equal(unguided, ddim(data, x_t, None, levels))


@pytest.mark.parametrize("levels", [[1.0, 1.0], [3.0, -1.0], [-1.0, 2.0, 1.0]])
def test_levels_that_do_not_rise_are_refused(levels: list[float]) -> None:
    with pytest.raises(ValueError, match="DDIM levels must be increasing log-SNRs; they are"):
        ddim(Gaussian.anisotropic(), normal(1, 4, 2, 2), None, levels)


def test_no_level_is_refused() -> None:
    with pytest.raises(ValueError, match="DDIM needs at least one level"):
        ddim(Gaussian.anisotropic(), normal(1, 4, 2, 2), None, [])
