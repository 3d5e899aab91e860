"""Every learned denoiser keeps the one contract: x0_hat = denoiser(x_t, log_snr, label), sample by sample.

They start as x0_hat = alpha x_t, hear the noise level and the label, never look at batch mates, take classifier-free
guidance by its formula, and, trained on Gaussian data, approach the error that theory allows.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from gaussian import Gaussian
from torch import Tensor

from diffect.denoisers.base import Network
from diffect.denoisers.learned import LearnedDenoiser, gaussian_error
from diffect.denoisers.networks.conditioning import Conditioning
from diffect.denoisers.networks.conv import ConvNet
from diffect.denoisers.networks.dit import DiT
from diffect.denoisers.networks.unet import UNet
from diffect.diffusion.objective import Objective, TrainingNoise
from diffect.diffusion.process import add_noise, alpha_sigma, eps_error_factor
from diffect.diffusion.schedules import Cosine
from diffect.diffusion.weights import V

SHAPE = (4, 8, 8)
NETWORKS: dict[str, Callable[..., Network]] = {
    "conv": partial(ConvNet, width=24, depth=2),
    "mlp": partial(ConvNet, width=24, depth=2, kernel=1),
    "unet": partial(UNet, widths=(16, 32), attention=(False, True), head=16),
    "dit": partial(DiT, width=32, depth=2, heads=2),
}


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> str:
    return request.param


def make(network: str, perturbed: bool = True, shape: tuple[int, int, int] = SHAPE, **settings: Any) -> LearnedDenoiser:
    torch.manual_seed(0)
    denoiser = LearnedDenoiser(NETWORKS[network], shape, **settings).eval()
    if perturbed:  # zero-initialised layers would hide everything
        with torch.no_grad():
            for parameter in denoiser.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    return denoiser


def inputs(count: int = 5) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, *SHAPE, generator=generator), torch.linspace(-4, 6, count)


def test_the_output_has_the_shape_of_the_input(network: str) -> None:
    x_t, log_snr = inputs()
    assert make(network)(x_t, log_snr, None).shape == x_t.shape


@pytest.mark.parametrize("grid", [(4, 20), (20, 4)])
def test_on_a_long_grid_every_cell_stays_in_its_place(network: str, grid: tuple[int, int]) -> None:
    net = make(network, shape=(4, *grid)).network
    x_t, log_snr = torch.randn(1, 4, *grid, generator=torch.Generator().manual_seed(1)), torch.zeros(1)
    for row, column in ((0, 3), (3, 0), (grid[0] - 1, grid[1] - 1)):
        moved = x_t.clone()
        moved[:, :, row, column] += 3
        change = (net(moved, log_snr, None) - net(x_t, log_snr, None)).abs().sum((0, 1))  # (h, w)
        found = divmod(int(change.argmax()), grid[1])
        assert max(abs(found[0] - row), abs(found[1] - column)) <= 2


def test_a_new_network_predicts_v_0_so_x0_hat_is_alpha_x_t(network: str) -> None:
    x_t, log_snr = inputs()
    denoiser = make(network, perturbed=False)
    assert (denoiser.network(x_t, log_snr, None) == 0).all()
    alpha, _ = alpha_sigma(log_snr, x_t)
    assert torch.equal(denoiser(x_t, log_snr, None), alpha * x_t)


def test_the_output_depends_on_the_noise_level(network: str) -> None:
    x_t, log_snr = inputs()
    denoiser = make(network)
    here, there = (denoiser.network(x_t, log_snr + shift, None) for shift in (0.0, 0.5))
    assert (here - there).abs().amax((1, 2, 3)).min() > 1e-4


def test_the_output_depends_on_the_label_and_on_having_none(network: str) -> None:
    x_t, log_snr = inputs()
    denoiser = make(network, classes=3)
    outputs = [denoiser(x_t, log_snr, torch.full((5,), label)) for label in range(3)]
    outputs.append(denoiser(x_t, log_snr, None))
    for i, one in enumerate(outputs):
        for other in outputs[:i]:
            assert (one - other).abs().max() > 1e-4


@pytest.mark.parametrize("settings", [{"classes": 1}, {"classes": 3, "conditional": False}], ids=str)
def test_without_classes_the_label_is_not_heard(network: str, settings: dict[str, Any]) -> None:
    x_t, log_snr = inputs()
    denoiser = make(network, **settings)
    assert torch.equal(denoiser(x_t, log_snr, torch.arange(5) % 3), denoiser(x_t, log_snr, None))


def test_a_samples_output_does_not_depend_on_its_batch(network: str) -> None:
    x_t, log_snr = inputs(6)
    label = torch.tensor([0, 1, 2, 0, 1, 2])
    denoiser = make(network, classes=3, guidance=0.5)
    whole = denoiser(x_t, log_snr, label)
    order = torch.tensor([3, 5, 0])
    apart = denoiser(x_t[order], log_snr[order], label[order])
    alone = torch.cat([denoiser(x_t[i : i + 1], log_snr[i : i + 1], label[i : i + 1]) for i in order])
    for found in (apart, alone):
        assert ((found - whole[order]).abs() / whole[order].abs().amax((1, 2, 3), keepdim=True)).max() < 1e-5


def changed_cells(network: str, where: tuple[int, int]) -> Tensor:
    """Which cells (h, w) of the output move when one cell of the input does."""
    x_t, log_snr = inputs(1)
    denoiser = make(network).double()
    moved = x_t.double().clone()
    moved[:, :, where[0], where[1]] += 1
    difference = denoiser(moved, log_snr.double(), None) - denoiser(x_t.double(), log_snr.double(), None)
    return difference.abs().amax((0, 1)) > 1e-12


def test_the_mlp_sees_one_cell_at_a_time() -> None:
    changed = changed_cells("mlp", (2, 5))
    assert changed[2, 5] and changed.sum() == 1


def test_the_convolutional_net_sees_its_receptive_field_and_no_more() -> None:
    changed = changed_cells("conv", (4, 4))  # two blocks of 3 x 3: 2 cells to each side
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[2:7, 2:7] = True
    assert torch.equal(changed, expected)


@pytest.mark.parametrize("network", ["unet", "dit"])
def test_attention_sees_the_whole_grid(network: str) -> None:
    assert changed_cells(network, (0, 0)).all()


def test_the_transformer_knows_where_a_patch_lies_and_the_convolutional_net_does_not() -> None:
    x_t, log_snr = inputs(1)
    x_t[..., :2], x_t[..., -2:] = 0, 0  # so that what is rolled stays inside
    x_t[..., :2, :], x_t[..., -2:, :] = 0, 0
    moved = x_t.roll(2, dims=3)
    for network, knows in (("dit", True), ("conv", False)):
        net = make(network).network
        here, there = net(x_t, log_snr, None).roll(2, dims=3), net(moved, log_snr, None)
        inside = (slice(None), slice(None), slice(2, -2), slice(4, -2))
        assert ((here - there)[inside].abs().max() > 1e-3 * here.abs().max()) == knows, network


# Guidance and label dropout


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_guidance_extrapolates_from_the_unconditional_guess(network: str, prediction: str) -> None:
    x_t, log_snr = inputs()
    label = torch.tensor([0, 1, 2, 0, 1])
    plain = make(network, classes=3, prediction=prediction)
    guided = make(network, classes=3, prediction=prediction, guidance=1.5)
    conditional, blank = plain(x_t, log_snr, label), plain(x_t, log_snr, None)
    expected = conditional + 1.5 * (conditional - blank)
    found = guided(x_t, log_snr, label)
    assert torch.allclose(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
    assert not torch.allclose(found, conditional, rtol=1e-2)
    assert torch.allclose(guided(x_t, log_snr, None), blank, atol=1e-5 * blank.abs().max().item())


def test_no_label_is_the_token_that_training_hides_labels_behind() -> None:
    x_t, log_snr = inputs()
    denoiser = LearnedDenoiser(Listener, SHAPE, classes=3).eval()
    network = denoiser.network
    assert isinstance(network, Listener) and denoiser.groups == 3
    denoiser(x_t, log_snr)
    assert network.heard.tolist() == [3] * 5
    # Where training hides none it has never been learned: there is nothing to answer with.
    unlearned = make("mlp", classes=3, label_dropout=0.0)
    noise = Objective(Cosine(), V()).sample(x_t, torch.Generator().manual_seed(0))
    assert unlearned(x_t, log_snr, torch.arange(5) % 3).isfinite().all()
    for asked in (lambda: unlearned(x_t, log_snr), lambda: unlearned.loss(x_t, None, noise)):
        with pytest.raises(ValueError, match="3 categories have separate statistics here, so each image needs a label"):
            asked()


class Listener(Network):
    """A network that records the labels it gets."""

    def __init__(self, shape: tuple[int, int, int], classes: int, outputs: int) -> None:
        super().__init__()
        self.classes, self.heard = classes, torch.zeros(0)

    def forward(self, x: Tensor, log_snr: Tensor, label: Tensor) -> Tensor:
        self.heard = label
        return torch.zeros_like(x)


def test_training_hides_the_promised_share_of_labels_and_scoring_hides_none() -> None:
    denoiser = LearnedDenoiser(Listener, (1, 2, 2), classes=3, label_dropout=0.25)
    network = denoiser.network
    assert isinstance(network, Listener) and network.classes == 4  # three, and one for "no label"
    x0, label = torch.zeros(4000, 1, 2, 2), torch.arange(4000) % 3
    noise = Objective(Cosine(), V()).sample(x0, torch.Generator().manual_seed(0))
    denoiser.train().loss(x0, label, noise)
    hidden = network.heard == 3
    assert hidden.float().mean().item() == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 4000) ** 0.5)
    assert torch.equal(network.heard[~hidden], label[~hidden])
    # What hides a label says nothing about the noise, or the two guesses of guidance would differ by it.
    eps = noise.eps.flatten(1)
    assert (eps[hidden].mean(0)).abs().max() < 4 / hidden.sum() ** 0.5
    assert torch.equal(hidden, noise.coin < 0.25)
    denoiser.eval().loss(x0, label, noise)
    assert torch.equal(network.heard, label)


def test_the_loss_is_a_weighted_mean_for_each_sample(network: str) -> None:
    x_t, log_snr = inputs()
    noise = TrainingNoise(log_snr, torch.randn(5, *SHAPE), torch.tensor([0.0, 1.0, 2.0, 3.0, 4.0]), torch.ones(5))
    denoiser = make(network)
    found = denoiser.loss(x_t, None, noise)
    unweighted = denoiser.loss(x_t, None, TrainingNoise(log_snr, noise.eps, torch.ones(5), noise.coin))
    assert found.shape == (5,) and torch.allclose(found, noise.weight * unweighted)


def test_the_likelihood_is_the_gaussian_one_and_trains_the_variance_alone() -> None:
    shape, channels = (5, 3, 2), [2, 3]
    torch.manual_seed(0)
    made = LearnedDenoiser(NETWORKS["mlp"], shape, channels=channels, variance_weight=0.5)
    plain = LearnedDenoiser(NETWORKS["mlp"], shape, channels=channels)
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    assert isinstance(made.network, ConvNet) and isinstance(plain.network, ConvNet)
    plain.network.load_state_dict({k: v[:5] if "leave.1" in k else v for k, v in made.network.state_dict().items()})
    x0, log_snr = torch.randn(4, *shape), torch.tensor([-3.0, 0.0, 1.0, 4.0])
    noise = TrainingNoise(log_snr, torch.randn(4, *shape), torch.rand(4), torch.ones(4))
    x_t = add_noise(x0, noise.eps, log_snr)
    x0_hat, log_variance = made.posterior(x_t, log_snr)
    assert torch.allclose(x0_hat, plain(x_t, log_snr)) and log_variance.shape == (4, 2, 3, 2)
    normal = torch.distributions.Normal(x0_hat, log_variance.repeat_interleave(torch.tensor(channels), 1).div(2).exp())
    likelihood = -2 * normal.log_prob(x0).mean(1) - math.log(2 * math.pi)  # (B, *grid)
    given = gaussian_error((x0 - x0_hat).square(), log_variance, channels)
    assert torch.allclose(given, likelihood, atol=1e-5)
    # The loss has it in units of the network's output, which differ by a constant of the level.
    factor = eps_error_factor(log_snr, "v") / eps_error_factor(log_snr, "x0")
    expected = plain.loss(x0, None, noise) + 0.5 * (likelihood.flatten(1).mean(1) - factor.log())
    assert torch.allclose(made.loss(x0, None, noise), expected, atol=1e-5)
    # The mean's last layer learns from the denoising error alone.
    (made.loss(x0, None, noise).sum()).backward(), (plain.loss(x0, None, noise).sum()).backward()
    layers = [network.leave[1].weight.grad for network in (made.network, plain.network)]
    assert torch.allclose(layers[0][:5], layers[1], atol=1e-6) and layers[0][5:].abs().max() > 0


def test_every_parameter_is_trained(network: str) -> None:
    x0, label = torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1, 2])
    denoiser = make(network, classes=3)
    denoiser.loss(x0, label, Objective(Cosine(), V()).sample(x0, torch.Generator().manual_seed(0))).mean().backward()
    silent = [name for name, p in denoiser.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert silent == []


def test_embeddings_of_different_levels_differ() -> None:
    torch.manual_seed(0)
    embedding = Conditioning(width=64, classes=0)
    vectors = embedding(torch.linspace(-20, 20, 81), None)
    distances = torch.cdist(vectors, vectors) + torch.eye(81)
    assert distances.min() > 1e-3  # half a nat apart at least


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
def test_training_on_gaussian_data_approaches_the_error_of_theory(network: str) -> None:
    # Channels are mixed into unit variance: s^2 of 0.1 to 1.9 along two directions, which each net must find.
    rotation, _ = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(3)))
    data = Gaussian(torch.zeros(4).double(), torch.tensor([0.1, 0.1, 1.9, 1.9]).double().sqrt())

    def draw(count: int, seed: int) -> Tensor:
        return torch.einsum("dc,bchw->bdhw", rotation, data.sample(count, 8, seed).float())

    denoiser = make(network, perturbed=False).train()
    objective, generator = Objective(Cosine(), V()), torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(denoiser.parameters(), lr=3e-3)
    steps = 120 if network == "unet" else 250
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        x0 = draw(16, step)
        optimizer.zero_grad()
        denoiser.loss(x0, None, objective.sample(x0, generator)).mean().backward()
        optimizer.step()
        schedule.step()
    denoiser.eval()
    x0, eps = draw(64, 10_000), torch.randn(64, *SHAPE, generator=generator)
    for level in (-1.0, 1.0, 3.0):
        log_snr = torch.full((64,), level)
        x_t = add_noise(x0, eps, log_snr)
        with torch.no_grad():
            error = (denoiser(x_t, log_snr, None) - x0).square().mean().item()
        best = data.error(level).mean().item()
        naive = alpha_sigma(log_snr, x_t)[1][0].item() ** 2  # of x0_hat = alpha x_t, where training began
        assert best * 0.97 < error < best + 0.35 * (naive - best), (network, level, best, error, naive)


# Bad settings

REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "prediction": (
        lambda: make("mlp", prediction="score"),
        r"LearnedDenoiser\.prediction is 'score'; it must be eps",
    ),
    "dropout of all": (lambda: make("mlp", label_dropout=1.0), r"LearnedDenoiser\.label_dropout is 1\.0"),
    "dropout below 0": (lambda: make("mlp", label_dropout=-0.1), r"LearnedDenoiser\.label_dropout is -0\.1"),
    "guidance, one category": (lambda: make("mlp", guidance=1.0), r"denoiser\.guidance is 1\.0.*several categories"),
    "guidance, unconditional": (
        lambda: make("mlp", classes=3, conditional=False, guidance=1.0),
        r"denoiser\.guidance.*conditional=true",
    ),
    "guidance, no dropout": (
        lambda: make("mlp", classes=3, label_dropout=0.0, guidance=1.0),
        r"denoiser\.guidance.*denoiser\.label_dropout above 0",
    ),
    "even kernel": (lambda: ConvNet((4, 8, 8), 0, 4, kernel=4), r"denoiser\.network\.kernel is 4; it must be odd"),
    "patch": (lambda: DiT((4, 8, 9), 0, 4, patch=2), r"denoiser\.network\.patch is 2; .* grid, 8 x 9"),
    "heads": (lambda: DiT((4, 8, 8), 0, 4, width=36, heads=4), r"denoiser\.network\.width is 36; .* 16"),
    "halvings": (
        lambda: UNet((4, 8, 10), 0, 4),
        r"denoiser\.network\.widths has 3 resolutions.* by 4; they are 8 x 10",
    ),
    "widths": (lambda: UNet((4, 8, 8), 0, 4, widths=(12, 32, 64)), r"widths \[12, 32, 64\] must be multiples of 8"),
    "attention flags": (
        lambda: UNet((4, 8, 8), 0, 4, attention=(True, False)),
        r"attention \[True, False\] must have one",
    ),
    "head": (
        lambda: UNet((4, 8, 8), 0, 4, widths=(8, 16), attention=(False, False)),
        r"denoiser\.network\.head is 32; it must divide the widths that carry attention.*\[16\]",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_settings_are_refused_with_a_sentence(case: str) -> None:
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()
