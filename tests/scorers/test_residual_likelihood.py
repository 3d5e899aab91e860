"""The residual likelihood is the Gaussian one under the learned variance, and needs a denoiser that learned one."""

from functools import partial

import pytest
import torch

from diffect.denoisers.gaussian import Gaussian
from diffect.denoisers.learned import LearnedDenoiser
from diffect.denoisers.networks.conv import ConvNet
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.objective import Objective
from diffect.diffusion.process import add_noise
from diffect.diffusion.schedules import Uniform
from diffect.diffusion.weights import V
from diffect.scorers.denoising import DenoisingError
from diffect.scorers.residual_likelihood import ResidualLikelihood

CHANNELS, SHAPE = [2, 1], (3, 4, 4)
NETWORK = partial(ConvNet, width=32, depth=2, kernel=1)


def noise(count: int = 3) -> ImageNoise:
    return ImageNoise(0, torch.arange(count))


def test_an_untrained_network_scores_like_the_plain_error() -> None:
    x0 = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    denoiser = LearnedDenoiser(NETWORK, SHAPE, channels=CHANNELS, variance_weight=0.1).eval()
    likelihood = ResidualLikelihood(CHANNELS, levels=[0.0])(denoiser, x0, None, noise())
    error = DenoisingError(CHANNELS, levels=[0.0], draws=0)(denoiser, x0, None, noise())
    # The untrained variance is 1 in units of v, 1/2 in units of x0 at log-SNR 0.
    assert torch.allclose(likelihood, 2 * error - torch.tensor(2.0).log(), atol=1e-5)


def test_draws_are_averaged_and_levels_stand_side_by_side() -> None:
    x0 = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    denoiser = LearnedDenoiser(NETWORK, SHAPE, channels=CHANNELS, variance_weight=0.1).eval()
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    both = ResidualLikelihood(CHANNELS, levels=[-1.0, 2.0], draws=2)(denoiser, x0, None, noise())
    assert both.shape == (3, 2, 4, 4)
    log_snr, parts = torch.full((3,), 2.0), []
    for draw in range(2):
        x0_hat, log_variance = denoiser.posterior(add_noise(x0, noise()(x0, 2.0, draw), log_snr), log_snr)
        wide = log_variance.repeat_interleave(torch.tensor(CHANNELS), 1)
        parts.append((wide + (x0 - x0_hat).square() / wide.exp()).mean(1))
    assert torch.allclose(both[:, 1], torch.stack(parts).mean(0), atol=1e-5)


def test_a_trained_variance_finds_what_the_plain_error_cannot() -> None:
    """Cells are of two kinds: one hardly varies, one varies much; an unusual cell of the quiet kind is found."""

    def cells(count: int, seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        kind = (torch.rand(count, 1, 4, 4, generator=generator) > 0.5).float()
        varied = torch.randn(count, 1, 4, 4, generator=generator) * torch.where(kind > 0, 1.2, 0.1)
        return torch.cat([6 * kind - 3, 3 - 6 * kind, varied], dim=1)  # clear at log-SNR -2 too

    torch.manual_seed(0)
    denoiser = LearnedDenoiser(NETWORK, SHAPE, channels=CHANNELS, variance_weight=0.1).train()
    optimizer, generator = torch.optim.AdamW(denoiser.parameters(), lr=3e-3), torch.Generator().manual_seed(0)
    objective = Objective(Uniform(log_snr_range=(-4, 4)), V())
    for step in range(300):
        x0 = cells(32, step)
        optimizer.zero_grad()
        denoiser.loss(x0, None, objective.sample(x0, generator)).mean().backward()
        optimizer.step()
    denoiser.eval()
    normal = cells(64, 1000)
    odd = normal.clone()
    odd[:, 2] = 0.65  # six standard deviations of a quiet cell, half of one of a loud cell
    loud, unusual = normal[:, 0] > 0, odd[:, 0] < 0
    shares = []
    for scorer in (ResidualLikelihood(CHANNELS, levels=[-2.0]), DenoisingError(CHANNELS, levels=[-2.0], draws=0)):
        with torch.no_grad():
            usual, found = (scorer(denoiser, x0, None, noise(64))[:, 0] for x0 in (normal, odd))
        shares.append((found[unusual][:, None] > usual[loud][None]).float().mean().item())
    # Whether an unusual quiet cell lies above a usual loud one: the plain error says no, the likelihood yes.
    assert shares[1] < 0.6 < 0.75 < shares[0]


def test_a_denoiser_without_a_learned_variance_is_refused() -> None:
    scorer = ResidualLikelihood(CHANNELS, levels=[-1.0, 1.0])
    without = LearnedDenoiser(NETWORK, SHAPE, channels=CHANNELS)
    for denoiser in (without, Gaussian(SHAPE, channels=CHANNELS)):
        with pytest.raises(ValueError, match=r"scorer=residual_likelihood needs a network that learns the variance"):
            scorer.check(denoiser, -5, 7)
    with pytest.raises(ValueError, match=r"scorer\.levels has log-SNR 1, where the denoiser is never trained"):
        learned = LearnedDenoiser(NETWORK, SHAPE, channels=CHANNELS, variance_weight=0.1)
        scorer.check(learned, -5, 0)
