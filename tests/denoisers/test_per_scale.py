"""Scales of a pyramid are denoised independently: posterior means side by side, log-densities added up.

Stored patches are a sample without bias, or a coreset; without a number all are kept.
"""

from functools import partial

import pytest
import torch
from torch import Tensor

from diffect.denoisers.empirical import Empirical
from diffect.denoisers.gaussian import Gaussian
from diffect.denoisers.per_scale import PerScale

CHANNELS = [3, 2]


def features(count: int = 12, seed: int = 0) -> Tensor:
    return torch.randn(count, sum(CHANNELS), 4, 6, generator=torch.Generator().manual_seed(seed))


def fitted(x0: Tensor, classes: int = 1) -> PerScale:
    made = PerScale(partial(Empirical, memory=1.0), x0.shape[1:], classes, CHANNELS)
    label = torch.arange(len(x0)) % classes
    made.fit(list(zip(x0.split(5), label.split(5), strict=True)))
    return made


def test_each_scale_is_denoised_as_if_alone() -> None:
    x0, log_snr = features(), torch.tensor([1.0, -1.0, 3.0])
    made, x_t = fitted(x0), features(3, seed=1)
    start = 0
    for count in CHANNELS:
        own = slice(start, start + count)
        alone = Empirical((count, 4, 6), memory=1.0)
        alone.fit([(x0[:, own], torch.zeros(12, dtype=torch.int64))])
        assert torch.allclose(made(x_t, log_snr)[:, own], alone(x_t[:, own], log_snr), atol=1e-6)
        start += count


def test_log_densities_add_up() -> None:
    x0, log_snr = features(), torch.zeros(3)
    made = PerScale(partial(Gaussian, mean="shared", covariance="shared", shrinkage=0), (5, 4, 6), channels=CHANNELS)
    made.fit([(x0, torch.zeros(12, dtype=torch.int64))])
    # The scales are made independent: a Gaussian of all channels then is the product of theirs.
    whole = Gaussian((5, 4, 6), mean="shared", covariance="shared", shrinkage=0)
    whole.fit([(x0, torch.zeros(12, dtype=torch.int64))])
    for buffer in ("mean", "vectors", "values"):
        parts = [getattr(part, buffer) for part in made.parts]
        if buffer == "vectors":
            whole.vectors[0, 0] = torch.block_diag(*(part[0, 0] for part in parts))
        else:
            setattr(whole, buffer, torch.cat(parts, dim=-1))
    x_t = features(3, seed=1)
    assert torch.allclose(made.log_density(x_t, log_snr), whole.log_density(x_t, log_snr), atol=1e-4)
    assert torch.allclose(made.log_normaliser(log_snr), whole.log_normaliser(log_snr), atol=1e-4)


def test_scales_know_the_category() -> None:
    x0 = features()
    made = fitted(x0, classes=2)
    log_snr = torch.full((12,), 12.0)
    own = made(x0, log_snr, torch.arange(12) % 2)
    other = made(x0, log_snr, (torch.arange(12) + 1) % 2)
    assert torch.allclose(own, x0.half().float(), atol=1e-4) and (other - x0).abs().mean() > 0.1


def test_channels_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x0 has 5 channels, but its scales have \[3, 3\]"):
        PerScale(Empirical, (5, 4, 6), channels=[3, 3])


def test_random_patches_are_a_sample_of_what_is_there_and_a_coreset_prefers_what_is_rare() -> None:
    x0 = 0.1 * features(50)
    x0[0] += 10  # one image in fifty unlike the others
    share = {}
    for keep in ("random", "greedy"):
        made = Empirical((5, 4, 6), memory=240, keep=keep)  # type: ignore[arg-type]
        made.fit([(x0, torch.zeros(50, dtype=torch.int64))])
        share[keep] = (made.patches.mean(1) > 5).double().mean().item()
    assert share["random"] == pytest.approx(1 / 50, abs=0.02)
    assert share["greedy"] >= share["random"]
    again = Empirical((5, 4, 6), memory=240)
    again.fit([(part, torch.zeros(len(part), dtype=torch.int64)) for part in x0.split(7)])
    assert again.patches.shape == (240, 5)


@pytest.mark.parametrize("memory", [None, 1000, 1.0])
def test_all_patches_are_kept_without_a_number_and_where_there_are_no_more(memory: float | None) -> None:
    for keep in ("random", "greedy"):
        made = Empirical((5, 4, 6), memory=memory, keep=keep)  # type: ignore[arg-type]
        made.fit([(features(10), torch.zeros(10, dtype=torch.int64))])
        given = features(10).movedim(1, -1).reshape(-1, 5).half()
        assert torch.equal(made.patches.sort(0).values, given.sort(0).values)


def test_an_unknown_way_to_keep_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Empirical\.keep is 'all'; it must be random or greedy"):
        Empirical((5, 4, 6), keep="all")  # type: ignore[arg-type]
