"""Many stored patches are searched, not compared one by one: what is found, how far the sums are off, what is refused.

The exact sum over all patches is the oracle, on patches whose channels are correlated as those of a backbone are.
"""

import copy
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from diffect.denoisers import empirical as module
from diffect.denoisers.empirical import Empirical
from diffect.denoisers.search import PatchSearch

GRID, CHANNELS = (16, 16), 24
LABEL = torch.zeros(20, dtype=torch.int64)


def images(count: int, seed: int) -> Tensor:
    """x0 (count, C, *grid) of unit variance, each cell around one of 40 centres, most of all in 8 directions."""
    fixed, generator = torch.Generator().manual_seed(9), torch.Generator().manual_seed(seed)
    centres = torch.randn(40, CHANNELS, generator=fixed)
    mixing = torch.randn(8, CHANNELS, generator=fixed) / 8**0.5
    kinds = torch.randint(40, (count, *GRID), generator=generator)
    around = torch.randn(count, *GRID, 8, generator=generator) @ mixing
    noise = torch.randn(count, *GRID, CHANNELS, generator=generator)
    return (0.8 * centres[kinds] + 0.5 * around + 0.3 * noise).movedim(-1, 1)


def fitted(**settings: Any) -> Empirical:
    made = Empirical((CHANNELS, *GRID), **settings)
    made.fit([(part, LABEL[: len(part)]) for part in images(20, seed=0).split(7)])
    return made


@pytest.fixture(autouse=True)
def few_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    """5,120 patches are searched as if they were millions: in 8 lists of 71."""
    monkeypatch.setattr(module, "SUMMED", 1000)
    monkeypatch.setattr("diffect.denoisers.search._SEEN", 568)


def off(found: Tensor, exact: Tensor) -> float:
    """The root mean square error, relative to the root mean square."""
    return float((found - exact).square().mean().sqrt() / exact.square().mean().sqrt())


@pytest.mark.parametrize(
    ("level", "of_mean", "of_distance"), [(12.0, 1e-4, 1e-5), (3.0, 1e-3, 1e-4), (1.0, 0.02, 0.01), (-1.0, 0.6, 0.6)]
)
def test_the_sum_over_the_nearest_is_near_the_sum_over_all(level: float, of_mean: float, of_distance: float) -> None:
    x_t = torch.sigmoid(torch.tensor(level)).sqrt() * images(4, seed=1)
    log_snr = torch.full((4,), level)
    exact, near, fewer = fitted(neighbours=None), fitted(neighbours=16), fitted(neighbours=2)
    wanted, error = exact(x_t, log_snr), off(near(x_t, log_snr), exact(x_t, log_snr))
    distances = [made.log_density(x_t, log_snr) - made.log_normaliser(log_snr) for made in (near, exact)]
    assert error < of_mean
    assert error <= off(fewer(x_t, log_snr), wanted)
    assert off(*distances) < of_distance
    assert torch.equal(near.log_normaliser(log_snr), exact.log_normaliser(log_snr))


def test_nearly_all_nearest_neighbours_are_found_and_the_others_are_not_much_farther() -> None:
    patches = images(20, seed=0).movedim(1, -1).reshape(-1, CHANNELS).half()
    queries = images(4, seed=1).movedim(1, -1).reshape(-1, CHANNELS)
    patches = patches[torch.randperm(len(patches), generator=torch.Generator().manual_seed(0))]
    squared = torch.cdist(queries.double(), patches.double()).square()
    best, rows = squared.min(1)
    found = PatchSearch(patches).nearest(queries, 5)
    assert (found[:, 0] == rows).double().mean() > 0.9
    assert squared.gather(1, found[:, :1]).mean() < 1.02 * best.mean()
    assert torch.equal(PatchSearch(patches).nearest(queries, 5), found)  # to the last bit
    # More than the nearest lists hold.
    many = PatchSearch(patches).nearest(queries[:3], 3000)
    assert all(len(row.unique()) == 3000 and row.min() >= 0 for row in many)


def test_another_fit_is_another_search_and_a_copy_has_its_own() -> None:
    x_t, log_snr = images(2, seed=1), torch.full((2,), 8.0)
    made = fitted()
    before, other = made(x_t, log_snr), copy.deepcopy(made)
    other.fit([(images(20, seed=5), LABEL)])
    assert torch.equal(made(x_t, log_snr), before) and not torch.allclose(other(x_t, log_snr), before)


def test_half_precision_hardly_changes_a_distance() -> None:
    x_t, log_snr = images(2, seed=1), torch.full((2,), 12.0)
    single = Empirical((CHANNELS, *GRID), neighbours=None).float()  # the patches too
    single.fit([(images(20, seed=0), LABEL)])
    exact, half = ((x_t - made(x_t, log_snr)).square().sum(1) for made in (single, fitted(neighbours=None)))
    assert single.patches.dtype == torch.float32 and off(half, exact) < 1e-3


def test_without_faiss_the_cure_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    made = fitted()
    with pytest.raises(ValueError, match=r"with faiss, which is not installed: pip install faiss-cpu$"):
        made(images(1, seed=1), torch.zeros(1))
    assert fitted(neighbours=None)(images(1, seed=1), torch.zeros(1)).isfinite().all()


def test_a_saved_memory_is_the_patches_alone() -> None:
    made, again = fitted(), Empirical((CHANNELS, *GRID))
    x_t, log_snr = images(2, seed=1), torch.full((2,), 4.0)
    wanted = made(x_t, log_snr)
    state = made.state_dict()
    assert sum(part.numel() * part.element_size() for part in state.values()) < len(made.patches) * (2 * CHANNELS + 5)
    for name, buffer in again.named_buffers():
        buffer.resize_(state[name].shape)
    again.load_state_dict(state)
    assert torch.equal(again(x_t, log_snr), wanted)
