"""Synthetic defects: masks are exact, all is a function of (seed, image, copy), and the cache gives what was drawn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import picture
from torch import Tensor

from diffect.data import features, store, synthetic
from diffect.data.batches import Items
from diffect.data.datamodule import DataModule
from diffect.data.sources.mvtec import Folder

Make = Callable[..., Path]


def grainy(seed: int, side: int = 64) -> np.ndarray:
    """A picture that has fine detail too, without which nothing can be blurred."""
    grain = np.random.default_rng(seed).normal(0, 12, (side, side, 1))
    return np.clip(picture(seed, side, side) + grain, 0, 255).astype(np.uint8)


def means(image: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(image.float(), 8)


@pytest.fixture
def module(make: Make, tmp_path: Path) -> Callable[..., DataModule]:
    """module(cache=...): two categories of 20 normal images, with features attached."""
    root = make("a", "b", train=20)

    def build(cache: str = "cache", **settings: Any) -> DataModule:
        data = DataModule(Folder(root), size=32, batch_size=2, cache=str(tmp_path / cache), **settings)
        data.attach("means", means)
        return data

    return build


def rows(data: DataModule, *args: Any, **kwargs: Any) -> list[dict[str, Tensor]]:
    return [
        {name: value[i] for name, value in b.items()}
        for b in data.synthetic(*args, **kwargs)
        for i in range(len(b["key"]))
    ]


# One image


@pytest.mark.parametrize("kind", synthetic.DEFECTS)
@pytest.mark.parametrize("grey", [False, True])
def test_nothing_changes_outside_the_mask_and_something_visible_inside(kind: str, grey: bool) -> None:
    for seed in range(8):
        image = grainy(seed)
        image = np.repeat(image[..., :1], 3, axis=2) if grey else image
        changed, mask, drawn = synthetic.apply(image, np.random.default_rng(seed), [kind])
        difference = np.abs(changed.astype(int) - image).max(axis=2)
        assert drawn == kind
        assert not difference[~mask].any()
        assert (difference >= synthetic.VISIBLE).sum() >= synthetic.SMALLEST
        assert mask.mean() < 0.9
        if grey:
            assert (changed == changed[..., :1]).all(), "colour would give the defect away"


@pytest.mark.parametrize("kind", synthetic.DEFECTS)
def test_defects_lie_up_to_the_border(kind: str) -> None:
    image = grainy(0, 48)
    masks = [synthetic.apply(image, np.random.default_rng(seed), [kind])[1] for seed in range(200)]
    frequency = np.mean(masks, axis=0)
    assert frequency[:4].mean() > 0.5 * frequency.mean() and frequency[:, -4:].mean() > 0.5 * frequency.mean()


def test_lines_and_blobs_are_some_pixels_wide_however_small_the_image() -> None:
    blobs = [synthetic._blob(np.random.default_rng(seed), (32, 32), 1e-6).sum() for seed in range(20)]
    assert np.median(blobs) >= 12  # those at the border are cut off
    for kind in ("scar", "crack", "spot"):
        areas = [synthetic.apply(grainy(n, 48), np.random.default_rng(n), [kind])[1].sum() for n in range(20)]
        assert min(areas) >= synthetic.SMALLEST


def test_all_kinds_are_drawn_and_one_seed_draws_the_same() -> None:
    drawn = [synthetic.apply(grainy(1), np.random.default_rng(seed)) for seed in range(80)]
    assert {kind for _, _, kind in drawn} == set(synthetic.DEFECTS)
    again = synthetic.apply(grainy(1), np.random.default_rng(7))
    assert np.array_equal(again[0], drawn[7][0]) and np.array_equal(again[1], drawn[7][1])


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match=r"kinds names the synthetic defect dent; allowed: blur, crack"):
        synthetic.apply(grainy(0), np.random.default_rng(0), ["blur", "dent"])
    with pytest.raises(ValueError, match="no defect of the kinds blur, warp shows"):
        synthetic.apply(np.full((64, 64, 3), 90, np.uint8), np.random.default_rng(0), ["warp", "blur"])


# The loader


def test_batches_are_like_the_test_loaders(module: Callable[..., DataModule]) -> None:
    data = module()
    made = rows(data, "selection", copies=3)
    like = next(iter(data.test_dataloader()))
    assert len(made) == 3 * len(data.splits["selection"]) == 12
    for row in made:
        assert set(row) == set(like)
        assert all(row[name].shape == like[name].shape[1:] and row[name].dtype == like[name].dtype for name in like)
        assert row["anomalous"] and row["has_mask"] and row["mask"].any()
        assert not (row["mask"] & ~row["valid"]).any()
        assert torch.equal(row["raw"], means(row["image"][None])[0])
    assert [(int(row["label"]), int(row["index"])) for row in made] == [(c, i) for c in range(2) for i in range(6)]


def test_a_copy_differs_from_its_image_in_its_mask_alone_and_its_kind_is_known(
    module: Callable[..., DataModule],
) -> None:
    data = module()
    originals = [image for batch in data.fit_dataloader() for image in batch["image"]]
    loader = data.synthetic("fit", copies=2, kinds=["spot", "scar"])
    assert isinstance(loader.dataset, Items)
    assert {sample.defect for part in loader.dataset.parts for sample in part.samples} == {"spot", "scar"}
    copies = [row for batch in loader for row in zip(batch["image"], batch["mask"], strict=True)]
    for place, (image, mask) in enumerate(copies):
        changed = (image != originals[place // 2]).any(0)
        assert changed.any() and not (changed & ~mask).any()


def test_a_copy_depends_on_seed_image_and_number_alone(module: Callable[..., DataModule]) -> None:
    many = rows(module(), "selection", copies=3, seed=5)
    few = rows(module("other"), "selection", copies=1, seed=5)
    for place, row in enumerate(few):
        assert torch.equal(row["image"], many[3 * place]["image"]) and torch.equal(row["mask"], many[3 * place]["mask"])
    other = rows(module(), "selection", copies=1, seed=6)
    assert not any(torch.equal(a["image"], b["image"]) for a, b in zip(few, other, strict=True))


def test_padding_mirrors_the_defect_and_the_mask_stays_inside(make: Make, tmp_path: Path) -> None:
    from pictures import save

    root = make(train=20)
    for number in range(3):  # upright images among the squares
        save(root / "part" / "train" / "good" / f"9{number}.png", picture(number, 40, 24))
    data = DataModule(Folder(root), size=32, batch_size=2, cache=str(tmp_path / "cache"), selection=0.4)
    data.attach("", means)
    padded = [row for part in ("fit", "selection") for row in rows(data, part) if not row["valid"].all()]
    assert padded
    for row in padded:
        columns = row["valid"].any(0).nonzero()
        left = int(columns[0])
        assert torch.equal(row["image"][..., :left], row["image"][..., left : 2 * left].flip(-1))
        assert not (row["mask"] & ~row["valid"]).any()


def test_the_cache_gives_what_was_drawn_and_a_broken_one_is_built_again(
    module: Callable[..., DataModule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = rows(module(), "selection", copies=2)
    with monkeypatch.context() as patch:
        patch.setattr(store, "npy_writer", None)  # calling it now fails
        patch.setattr(features, "_extract", None)
        found = rows(module(), "selection", copies=2)
    for path in (tmp_path / "cache" / "synthetic").glob("*/arrays.npy"):
        path.write_bytes(path.read_bytes()[:-5])
    rebuilt = rows(module(), "selection", copies=2)
    for one, two, three in zip(fresh, found, rebuilt, strict=True):
        assert all(torch.equal(one[name], two[name]) and torch.equal(one[name], three[name]) for name in one)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"split": "test"}, "on the splits fit and selection, not on 'test'"),
        ({"split": "fit", "copies": 0}, "copies .* is 0; it must be 1 or more"),
        ({"split": "fit", "kinds": ["dent"]}, "kinds names the synthetic defect dent; allowed: blur"),
    ],
)
def test_what_cannot_be_made_is_refused(module: Callable[..., DataModule], asked: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        module().synthetic(**asked)


def test_features_must_be_attached_first(make: Make, tmp_path: Path) -> None:
    data = DataModule(Folder(make(train=20)), size=32, batch_size=2, cache=str(tmp_path / "cache"))
    with pytest.raises(ValueError, match="attach must be called"):
        data.synthetic("fit")
