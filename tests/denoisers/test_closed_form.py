"""The closed forms are what they claim: exact posterior means, PaDiM's distance, PatchCore's neighbour.

Oracles are numpy, scipy and scikit-learn, and autograd of the densities (Tweedie's formula). What is fitted does not
depend on the order of images, a learned denoiser comes near the Gaussian one on Gaussian data, and a run with a
closed form is trained, recorded and scored like any other.
"""

import csv
import json
import logging
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.covariance import OAS
from torch import Tensor

from diffect.cli.main import main
from diffect.denoisers.base import ClosedForm
from diffect.denoisers.coreset import greedy_centres
from diffect.denoisers.empirical import Empirical
from diffect.denoisers.gaussian import Gaussian
from diffect.denoisers.learned import LearnedDenoiser, NoDenoiser
from diffect.denoisers.networks.conv import ConvNet
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.objective import Objective, TrainingNoise, denoising_loss
from diffect.diffusion.process import add_noise
from diffect.diffusion.schedules import Cosine
from diffect.diffusion.weights import V

SHAPE = (4, 2, 3)
LEVELS = (-4.0, 0.0, 4.6, 12.0)


def correlated(count: int, shape: tuple[int, int, int] = SHAPE, seed: int = 0) -> Tensor:
    """x0 (count, C, h, w), float64, whose mean and covariance differ by cell."""
    channels, height, width = shape
    generator = torch.Generator().manual_seed(seed)
    fixed = torch.Generator().manual_seed(99)
    mixing = torch.randn(height, width, channels, channels, generator=fixed, dtype=torch.float64)
    centre = torch.randn(channels, height, width, generator=fixed, dtype=torch.float64)
    eps = torch.randn(count, channels, height, width, generator=generator, dtype=torch.float64)
    return centre + torch.einsum("hwdc,bchw->bdhw", mixing, eps)


def labels(count: int, classes: int = 1) -> Tensor:
    return torch.arange(count) % classes


def batches(x0: Tensor, label: Tensor, size: int = 7) -> list[tuple[Tensor, Tensor]]:
    return list(zip(x0.split(size), label.split(size), strict=True))


def gaussian(x0: Tensor, classes: int = 1, **settings: Any) -> Gaussian:
    made = Gaussian(tuple(x0.shape[1:]), classes, **settings).double()  # type: ignore[arg-type]
    made.fit(batches(x0, labels(len(x0), classes)))
    return made


def empirical(x0: Tensor, classes: int = 1, **settings: Any) -> Empirical:
    made = Empirical(tuple(x0.shape[1:]), classes, **{"memory": 1.0, **settings}).double()  # type: ignore[arg-type]
    made.fit(batches(x0, labels(len(x0), classes)))
    return made


MAKERS = [gaussian, empirical]


def noisy(level: float, count: int = 5, seed: int = 7) -> tuple[Tensor, Tensor, float, float]:
    """x_t (count, C, h, w), log_snr (count,), alpha, sigma."""
    x0 = correlated(count, seed=seed)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed + 1), dtype=torch.float64)
    log_snr = torch.full((count,), level, dtype=torch.float64)
    return (
        add_noise(x0, eps, log_snr),
        log_snr,
        math.sqrt(1 / (1 + math.exp(-level))),
        math.sqrt(1 / (1 + math.exp(level))),
    )


def cells() -> Iterator[tuple[int, int]]:
    return ((row, column) for row in range(SHAPE[1]) for column in range(SHAPE[2]))


# The Gaussian


@pytest.mark.parametrize("level", LEVELS)
def test_gaussian_distance_is_padims_with_the_noise_as_regulariser(level: float) -> None:
    data = correlated(60)
    made = gaussian(data, shrinkage=0)
    x_t, log_snr, alpha, sigma = noisy(level)
    density, normaliser = made.log_density(x_t, log_snr), made.log_normaliser(log_snr)
    for row, column in cells():
        patches = data[:, :, row, column].numpy()
        regular = np.cov(patches, rowvar=False) + (sigma / alpha) ** 2 * np.eye(4)  # Defard et al. 2020, eq. 1
        off = x_t[:, :, row, column].numpy() / alpha - patches.mean(0)
        squared = np.einsum("bc,cd,bd->b", off, np.linalg.inv(regular), off)  # eq. 2, squared
        found = -2 * (density - normaliser)[:, row, column]
        assert found.tolist() == pytest.approx(squared, rel=1e-5)
        assert made.mahalanobis(x_t, log_snr)[:, row, column].tolist() == pytest.approx(squared, rel=1e-5)
        spread = multivariate_normal(alpha * patches.mean(0), alpha**2 * regular)
        assert density[:, row, column].tolist() == pytest.approx(spread.logpdf(x_t[:, :, row, column]), rel=1e-5)


@pytest.mark.parametrize("mean", ["cell", "shared"])
@pytest.mark.parametrize("covariance", ["cell", "shared"])
def test_gaussian_moments_are_of_each_cell_or_shared(mean: str, covariance: str) -> None:
    data = correlated(40)
    made = gaussian(data, mean=mean, covariance=covariance, shrinkage=0)
    patches = data.flatten(2).permute(2, 0, 1).numpy()  # (P, B, C)
    centre = patches.mean((0, 1) if mean == "shared" else 1, keepdims=True)
    products = np.einsum("pbc,pbd->pcd", patches - centre, patches - centre) / (40 - (mean == "cell"))
    if covariance == "shared":
        products = products.mean(0, keepdims=True)
    held = (made.vectors[0] * made.values[0][:, None]) @ made.vectors[0].mT
    assert np.allclose(made.mean[0], centre[:, 0], atol=1e-10)
    assert np.allclose(held, products, atol=1e-10)


def test_wiener_filter_is_the_posterior_mean_by_brute_force() -> None:
    data = correlated(50, (2, 1, 1))
    made = gaussian(data, shrinkage=0)
    mu, sigma0 = data[:, :, 0, 0].numpy().mean(0), np.cov(data[:, :, 0, 0].numpy(), rowvar=False)
    line = np.linspace(-9, 9, 401)
    x0 = np.stack(np.meshgrid(line, line, indexing="ij"), -1).reshape(-1, 2) + mu  # every x0 there is, nearly
    prior = multivariate_normal(mu, sigma0).logpdf(x0)
    for level in (-3.0, 0.0, 3.0):
        x_t = torch.tensor([[0.7, -1.2], [2.0, 0.1]], dtype=torch.float64)
        alpha, sigma = (math.sqrt(1 / (1 + math.exp(sign * level))) for sign in (-1, 1))
        logits = prior - cdist(x_t, alpha * x0, "sqeuclidean") / (2 * sigma**2)
        weights = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
        found = made(x_t[:, :, None, None], torch.full((2,), level, dtype=torch.float64))
        assert np.allclose(found[:, :, 0, 0], weights @ x0, atol=1e-5)


def test_shrinkage_is_the_share_asked_for_or_the_oracles_approximation() -> None:
    data = correlated(30)
    plain = gaussian(data, shrinkage=0).values[0]
    assert torch.allclose(gaussian(data, shrinkage=1).values[0], plain.mean(1, keepdim=True))
    assert torch.allclose(gaussian(data, shrinkage=0.25).values[0], 0.75 * plain + 0.25 * plain.mean(1, keepdim=True))
    wide = correlated(40, (60, 1, 2))  # scikit-learn leaves out the 2 / C of the paper, and divides by n
    held = gaussian(wide).values[0]
    for cell in range(2):
        patches = wide.flatten(2)[:, :, cell].numpy()
        oracle = np.linalg.eigvalsh(OAS().fit(patches).covariance_) * 40 / 39
        assert held[cell].numpy() == pytest.approx(oracle, rel=0.04)


def test_fewer_images_than_channels_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        gaussian(correlated(5))
        assert caplog.messages == []  # 5 images for 4 channels
        gaussian(correlated(4))
        gaussian(correlated(4), covariance="shared")  # 4 images of 6 cells
        gaussian(correlated(8), classes=2, shrinkage=0)  # 4 of each
    assert caplog.messages == [
        "denoiser=gaussian has 4 samples for a covariance of 4 channels, which is shrunk towards a multiple of I "
        "(denoiser.shrinkage=oas, denoiser.covariance=cell)",
        "denoiser=gaussian has 4 samples for a covariance of 4 channels, which is regularised by the noise alone "
        "(denoiser.shrinkage=0, denoiser.covariance=cell)",
    ]


def test_gaussian_before_the_fit_is_what_a_representation_promises() -> None:
    x_t, log_snr, alpha, _ = noisy(1.0)
    assert torch.allclose(Gaussian(SHAPE).double()(x_t, log_snr), alpha * x_t)


# The stored patches


@pytest.mark.parametrize("level", LEVELS)
def test_empirical_is_the_softmax_over_all_patches(level: float) -> None:
    data = correlated(9)
    made = empirical(data)
    x_t, log_snr, alpha, sigma = noisy(level)
    stored = data.permute(0, 2, 3, 1).reshape(-1, 4).numpy()
    found, density = made(x_t, log_snr), made.log_density(x_t, log_snr)
    distance = -2 * (density - made.log_normaliser(log_snr))
    for row, column in cells():
        logits = -cdist(x_t[:, :, row, column], alpha * stored, "sqeuclidean") / (2 * sigma**2)
        evidence = logsumexp(logits, axis=1)
        assert np.allclose(found[:, :, row, column], np.exp(logits - evidence[:, None]) @ stored, atol=1e-6)
        exact = evidence - math.log(len(stored)) - 2 * math.log(2 * math.pi * sigma**2)
        assert density[:, row, column].tolist() == pytest.approx(exact, rel=1e-5)
        assert distance[:, row, column].tolist() == pytest.approx(-2 * evidence, rel=1e-5, abs=1e-6)


def test_unnoised_patches_fall_on_their_nearest_neighbour() -> None:
    data, tested = correlated(12).float(), correlated(5, seed=3).float()
    made = Empirical(SHAPE, memory=40)
    made.fit(batches(data, labels(12)))
    log_snr = torch.full((5,), 20.0)
    x0_hat = made(add_noise(tested, torch.zeros_like(tested), log_snr), log_snr)
    error = (tested - x0_hat).square().sum(1)
    for row, column in cells():
        nearest = cdist(tested[:, :, row, column].double(), made.patches.double(), "sqeuclidean").min(1)
        assert error[:, row, column].tolist() == pytest.approx(nearest, rel=1e-5)


def test_a_window_lets_only_near_cells_count() -> None:
    shape = (3, 4, 5)
    data, tested = correlated(6, shape), correlated(2, shape, seed=3)
    made = empirical(data, window=1)
    log_snr = torch.full((2,), 20.0, dtype=torch.float64)
    x0_hat = made(add_noise(tested, torch.zeros_like(tested), log_snr), log_snr)
    counts = (math.log(1) - made.log_normaliser(log_snr) - 1.5 * (math.log(2 * math.pi) - 20.0)).exp()
    for row in range(4):
        for column in range(5):
            rows, columns = slice(max(row - 1, 0), row + 2), slice(max(column - 1, 0), column + 2)
            near = data[:, :, rows, columns].permute(0, 2, 3, 1).reshape(-1, 3)
            best = near[cdist(tested[:, :, row, column], near).argmin(1)]
            assert torch.allclose(x0_hat[:, :, row, column], best)
            assert counts[:, row, column].tolist() == pytest.approx([len(near)] * 2)


def test_with_a_window_few_patches_are_spread_over_the_grid() -> None:
    x0 = correlated(10, (3, 8, 12)).float()
    x0[:, :, :, 6:] = 0.001 * x0[:, :, :, 6:]  # half the picture is all but empty: without a window it gets few
    for window, least in ((None, 0), (2, 6)):
        made = Empirical((3, 8, 12), memory=40, keep="greedy", window=window)
        made.fit([(x0, labels(10))])
        right = int((made.cells % 12 >= 6).sum())
        assert (right >= least) if window else right < 6
    with pytest.raises(
        ValueError, match=r"window of denoiser=empirical is 0, and 56 of the 96 cells have no stored patch"
    ):
        Empirical((3, 8, 12), memory=40, keep="greedy", window=0).fit([(x0, labels(10))])


def test_coreset_is_the_greedy_k_center_of_the_papers() -> None:
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(3000, 5, generator=generator, dtype=torch.float64) ** 3
    points[::7] = points[0]  # a point that is there many times
    plain: list[int] = []
    distance = (points - points.mean(0)).square().sum(1)
    for _ in range(900):
        plain.append(int(distance.argmax()))
        distance = torch.minimum(distance, (points - points[plain[-1]]).square().sum(1))
        distance[plain[-1]] = -1
    assert torch.equal(points[greedy_centres(points, 900)], points[plain])  # of equal points any
    assert sorted(greedy_centres(points[:50], 50).tolist()) == list(range(50))  # all, equal ones too


# Both


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("level", LEVELS[:3])
def test_tweedies_formula_holds(make: Callable[..., Any], level: float) -> None:
    made = make(correlated(15))
    x_t, log_snr, alpha, sigma = noisy(level)
    x_t.requires_grad_()
    (score,) = torch.autograd.grad(made.log_density(x_t, log_snr).sum(), x_t)
    tweedie = (x_t + sigma**2 * score) / alpha  # E[x0|x_t] = (x_t + sigma^2 grad log p) / alpha
    assert torch.allclose(made(x_t, log_snr), tweedie, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("make", MAKERS)
def test_they_meet_the_contract(make: Callable[..., Any]) -> None:
    assert isinstance(make(correlated(6)), ClosedForm)
    assert not isinstance(LearnedDenoiser(ConvNet, SHAPE), ClosedForm)


@pytest.mark.parametrize("make", MAKERS)
def test_the_order_of_images_does_not_matter(make: Callable[..., Any]) -> None:
    data = correlated(20)
    x_t, log_snr, *_ = noisy(3.0)
    settings = {"memory": 30} if make is empirical else {}
    found = make(data, **settings)(x_t, log_snr)
    again = make(data[torch.randperm(20, generator=torch.Generator().manual_seed(1))], **settings)
    assert torch.allclose(again(x_t, log_snr), found, rtol=1e-5, atol=1e-8)
    alone = torch.cat([again(x_t[i : i + 1], log_snr[i : i + 1]) for i in range(5)])
    assert torch.allclose(alone, found, rtol=1e-5, atol=1e-8)  # nor do batch mates


@pytest.mark.parametrize("make", MAKERS)
def test_each_category_has_its_model_or_all_share_one(make: Callable[..., Any]) -> None:
    data = correlated(24)
    data[1::2] += 3.0
    x_t, log_snr, *_ = noisy(1.0)
    label = torch.tensor([1, 0, 0, 1, 1])
    both = make(data, 2)
    assert both.groups == 2
    for category in (0, 1):
        mine = make(data[category::2])
        rows = label == category
        for method in ("forward", "log_density"):
            found, wanted = getattr(both, method)(x_t, log_snr, label), getattr(mine, method)(x_t, log_snr)
            assert torch.allclose(found[rows], wanted[rows])
        found, wanted = both.log_normaliser(log_snr, label), mine.log_normaliser(log_snr)
        assert torch.allclose(found[rows], wanted[rows])
    together, single = make(data, 2, conditional=False), make(data)
    assert together.groups == single.groups == 1
    for told in (label, None):
        assert torch.allclose(together(x_t, log_snr, told), single(x_t, log_snr))
        assert torch.allclose(together.log_density(x_t, log_snr, told), single.log_density(x_t, log_snr))


@pytest.mark.parametrize("make", MAKERS)
def test_which_category_an_image_is_of_is_asked_where_there_are_several(make: Callable[..., Any]) -> None:
    both = make(correlated(24), 2)
    x_t, log_snr, *_ = noisy(1.0)
    said = "2 categories have separate statistics here, so each image needs a label"
    for asked in (
        lambda: both(x_t, log_snr),
        lambda: both.log_density(x_t, log_snr),
        lambda: both.log_normaliser(log_snr),
    ):
        with pytest.raises(ValueError, match=said):
            asked()


@pytest.mark.parametrize("make", MAKERS)
def test_the_loss_is_the_one_that_learned_denoisers_report(make: Callable[..., Any]) -> None:
    x0 = correlated(5).float()
    noise = Objective(Cosine(), V()).fixed(x0, ImageNoise(0, torch.arange(5)), 0, 4)
    torch.manual_seed(0)
    for prediction in ("v", "eps", "x0"):
        learned = LearnedDenoiser(ConvNet, SHAPE, prediction=prediction).eval()  # type: ignore[arg-type]
        torch.nn.init.normal_(learned.network.leave[1].weight, std=0.1)  # type: ignore[union-attr, index]
        assert torch.allclose(denoising_loss(learned, x0, None, noise), learned.loss(x0, None, noise), rtol=1e-3)
    exact, guess = make(correlated(400)).float(), Gaussian(SHAPE)
    assert denoising_loss(exact, x0, None, noise).mean() < denoising_loss(guess, x0, None, noise).mean()


@pytest.mark.slow
def test_a_learned_denoiser_comes_near_the_closed_form_on_gaussian_data() -> None:
    shape = (4, 4, 4)
    spread = torch.tensor([[1.0, 0, 0, 0], [0.8, 0.6, 0, 0], [0.5, 0.5, 0.7, 0], [0.9, 0.1, 0.1, 0.4]])
    generator = torch.Generator().manual_seed(0)

    def sample(count: int) -> Tensor:
        return torch.einsum("dc,bchw->bdhw", spread, torch.randn(count, *shape, generator=generator))

    exact = Gaussian(shape, mean="shared", covariance="shared")
    exact.fit([(sample(64), labels(64)) for _ in range(16)])
    torch.manual_seed(0)
    learned = LearnedDenoiser(lambda **given: ConvNet(**given, width=64, depth=2, kernel=1), shape)
    optimiser = torch.optim.AdamW(learned.parameters(), lr=3e-3)
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 150)
    objective = Objective(Cosine(), V())
    for _ in range(150):
        x0 = sample(64)
        optimiser.zero_grad()
        learned.loss(x0, None, objective.sample(x0, generator)).mean().backward()
        optimiser.step()
        decay.step()
    tested = sample(512)
    for level in (-2.0, 0.0, 2.0, 4.0):
        noise = TrainingNoise(
            torch.full((512,), level), torch.randn(tested.shape, generator=generator), torch.ones(512), torch.ones(512)
        )
        with torch.no_grad():
            best, near = (float(denoising_loss(one, tested, None, noise).mean()) for one in (exact, learned.eval()))
        assert best * 0.99 < near < best * 1.03, level


# Bad input


@pytest.mark.parametrize(
    ("make", "settings", "said"),
    [
        (gaussian, {"mean": "pixel"}, r"Gaussian\.mean is 'pixel'; it must be cell or shared"),
        (gaussian, {"shrinkage": 2}, r"Gaussian\.shrinkage is 2; it must be a number from 0 to 1"),
        (
            empirical,
            {"memory": 0},
            r"Empirical\.memory is 0; it must be a whole number of patches, a share above 0 and at most 1, or null",
        ),
        (empirical, {"memory": 1.5}, r"Empirical\.memory is 1\.5; it must be"),
        (empirical, {"window": -1}, r"Empirical\.window is -1; it must be a whole number, 0 or more"),
        (empirical, {"projection": 0}, r"Empirical\.projection is 0; it must be a whole number, 1 or more"),
    ],
)
def test_bad_settings_are_refused_with_a_sentence(make: Any, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        make(correlated(5), **settings)


def test_too_few_images_are_refused_with_a_sentence() -> None:
    with pytest.raises(
        ValueError, match=r"needs 2 images or more of each category to fit on; there is 1: take denoiser\."
    ):
        gaussian(correlated(3), 2)
    assert gaussian(correlated(1), mean="shared", covariance="shared").values.isfinite().all()


@pytest.mark.parametrize("make", [Gaussian, Empirical])
def test_no_image_of_all_or_of_a_category_is_refused_with_a_sentence(make: Callable[..., Any]) -> None:
    settings = {"mean": "shared"} if make is Gaussian else {}
    for given, said in (
        ([], "no images to fit on$"),
        (batches(correlated(6).float(), labels(6)), "no images with label 1 to fit on"),
    ):
        with pytest.raises(ValueError, match=said):
            make(SHAPE, 2, **settings).fit(given)


def test_no_denoiser_says_so_when_it_is_asked() -> None:
    with pytest.raises(ValueError, match="denoiser=none cannot denoise, but the scorer needs a denoiser"):
        NoDenoiser(SHAPE)(torch.zeros(1, *SHAPE), torch.zeros(1))


# Whole runs


@pytest.mark.slow
@pytest.mark.parametrize(
    "choice",
    [
        ("denoiser=gaussian", "scorer=density", "data.category=[brick,grass]"),
        ("denoiser=empirical", "denoiser.memory=0.05", "denoiser.window=4", "scorer=density"),
        ("denoiser=empirical_per_scale", "denoiser.denoiser.memory=200", "data.category=[brick,grass]"),
    ],
    ids=lambda choice: " ".join(choice),
)
def test_a_run_is_recorded_and_scores_again_as_it_did(choice: tuple[str, ...], tmp_path: Path) -> None:
    given = ["data.size=64", "data.category=brick", "backbone.blocks=[4,7]", "evaluation.replicates=5"]
    given += ["evaluation.folds=2", "data.source.train=48", "data.source.good=6", "data.source.defective=2"]
    given += ["panel=2", "gallery=0"]
    run = tmp_path / "run"
    assert main(["train", *given, "evaluation.latency_repeats=1", f"hydra.run.dir={run}", *choice]) == 0
    assert {path.name for path in run.iterdir()} == {"record.json", "scores.csv", "panel.png", "checkpoint.pt", "wandb"}
    record = json.loads((run / "record.json").read_text())
    training = record["training"]
    assert training["steps"] == 0 and training["loss_initial"] is None and training["loss_best"] > 0
    assert "solved on the fit images" in record["protocol"]["checkpoint"]
    assert main(["score", f"run={run}", f"out={tmp_path}/again", "batch_size=3", "maps=false"]) == 0
    with (run / "scores.csv").open() as one, (tmp_path / "again" / "scores.csv").open() as other:
        mine = {f"{row['category']}/{row['name']}": float(row["score"]) for row in csv.DictReader(one)}
        again = {row["name"]: float(row["score"]) for row in csv.DictReader(other)}
    assert len(mine) > 10 and again == pytest.approx(mine, rel=1e-5)
