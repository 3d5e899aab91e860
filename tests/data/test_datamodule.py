"""The DataModule: splits by seed, batches by (seed, epoch, step), features cached, items without company effects."""

import shutil
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from configs import composed
from hydra.utils import instantiate
from omegaconf import OmegaConf
from pictures import picture, save
from torch import Tensor

from diffect.data.batches import Batches
from diffect.data.datamodule import DataModule
from diffect.data.sources.mvtec import Folder
from diffect.storage.arrays import npy_writer

Make = Callable[..., Path]
CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def module(make: Make, tmp_path: Path) -> Callable[..., DataModule]:
    """module(*categories, train=..., **settings): a DataModule on a small sound set, at 32 px."""

    def build(*categories: str, train: int = 10, root: Path | None = None, **settings: Any) -> DataModule:
        root = root or make(*categories, train=train)
        given = {"size": 32, "batch_size": 2, "cache": str(tmp_path / "cache")} | settings
        return DataModule(Folder(root), **given)

    return build


def means(image: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(image.float(), 8)


# Settings


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"groups": "part("}, r"data\.groups=part\( is no regular expression"),
        ({"shots": 11}, r"data\.shots=11 .* part has 10 .* from 1 to 10"),
        ({"shots": 0}, r"DataModule\.shots is .?0"),
        ({"seed": -1}, r"DataModule\.seed is .?-1"),
        ({"selection": 0.7}, r"DataModule\.selection is .?0\.7"),
        ({"calibration": -0.1}, r"DataModule\.calibration is .?-0\.1"),
        ({"calibration_min": -1}, r"DataModule\.calibration_min is .?-1"),
        ({"batch_size": 0}, r"DataModule\.batch_size is .?0"),
        ({"eval_batch_size": 0}, r"DataModule\.eval_batch_size is .?0"),
        ({"batches_per_epoch": 0}, r"DataModule\.batches_per_epoch is .?0"),
        ({"workers": -1}, r"DataModule\.workers is .?-1"),
        ({"size": 7}, r"DataModule\.size is .?7"),
        ({"aspect": "crop"}, r"DataModule\.aspect is .?crop"),
        ({"max_aspect": 0.5}, r"DataModule\.max_aspect is .?0\.5"),
        ({"category": "prat"}, r"data\.category=prat .* did you mean part"),
        ({"category": []}, r"data\.category is an empty list"),
        ({"category": ["part", "part"]}, r"names part twice"),
    ],
)
def test_a_setting_out_of_range_is_named(
    module: Callable[..., DataModule], settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValueError, match=said):
        module(**settings).setup()


def test_a_batch_of_more_places_than_images_holds_each_about_equally_often(module: Callable[..., DataModule]) -> None:
    data = module(shots=3, batch_size=8)
    data.attach("", means)
    for batch in data.train_dataloader():
        counts = [batch["key"].tolist().count(key) for key in set(batch["key"].tolist())]
        assert len(counts) == 3 and sum(counts) == 8 and max(counts) <= min(counts) + 2


def test_one_training_image_must_be_meant(module: Callable[..., DataModule], make: Make) -> None:
    root = make(train=1)
    with pytest.raises(ValueError, match="one normal training image only"):
        module(root=root).setup()
    one = module(root=root, shots=1)
    one.setup()
    assert one.splits["fit"] == [(0, 0)]


def test_categories_are_labels_in_the_order_given(module: Callable[..., DataModule]) -> None:
    data = module("a", "b", "c", category=["c", "a"])
    data.setup()
    assert data.categories == ["c", "a"] and data.sample(0, 0).category == "c"
    assert {c for c, _ in data.splits["test"]} == {0, 1} and len(data.splits["test"]) == 12
    assert all(data.sample(c, row).split == "test" for c, row in data.splits["test"])
    trained = [(c, row) for name in ("fit", "selection", "calibration") for c, row in data.splits[name]]
    assert len(set(trained)) == 20 and all(data.sample(c, row).split == "train" for c, row in trained)


# Batches


def test_a_batch_is_a_function_of_seed_epoch_and_step(module: Callable[..., DataModule]) -> None:
    def keys(epoch: int, **settings: int) -> list[list[int]]:
        data = module(batches_per_epoch=7, **settings)
        data.trainer = SimpleNamespace(current_epoch=epoch)  # type: ignore[assignment]
        data.attach("", means)
        return [batch["key"].tolist() for batch in data.train_dataloader()]

    first = keys(0)
    assert len(first) == 7 and all(len(batch) == 2 for batch in first)
    assert keys(0) == first and keys(1) != first and keys(0, seed=1) != first
    loader = module(batches_per_epoch=7)
    loader.attach("", means)
    batches = loader.train_dataloader()
    assert [b["key"].tolist() for b in batches] == first == [b["key"].tolist() for b in batches]


def test_an_epoch_runs_through_permutations_balanced_over_categories() -> None:
    groups = [[0, 1, 2, 3, 4], [5, 6]]
    batches = Batches(groups, 4, 25, seed=0, epoch=lambda: 0)
    drawn = np.array(list(batches))
    assert drawn.shape == (25, 4) and len(batches) == 25
    assert all((row < 5).sum() == 2 for row in drawn)
    first = drawn[drawn < 5][:50].reshape(10, 5)
    assert all(sorted(turn) == groups[0] for turn in first.tolist())
    assert len({tuple(turn) for turn in first.tolist()}) > 5
    assert batches.at(0, 24) == drawn[24].tolist()


def test_items_have_the_agreed_names_types_and_shapes(module: Callable[..., DataModule]) -> None:
    data = module("a", "b", eval_batch_size=4)
    data.attach("means", means)
    lean = next(iter(data.train_dataloader()))
    assert {name: (value.dtype, tuple(value.shape)) for name, value in lean.items()} == {
        "raw": (torch.float32, (2, 3, 4, 4)),
        "label": (torch.int64, (2,)),
        "key": (torch.int64, (2,)),
    }
    full = next(iter(data.test_dataloader()))
    assert {name: (value.dtype, tuple(value.shape)) for name, value in full.items()} == {
        "raw": (torch.float32, (4, 3, 4, 4)),
        "image": (torch.uint8, (4, 3, 32, 32)),
        "mask": (torch.bool, (4, 32, 32)),
        "valid": (torch.bool, (4, 32, 32)),
        "box": (torch.int64, (4, 4)),
        "label": (torch.int64, (4,)),
        "anomalous": (torch.bool, (4,)),
        "has_mask": (torch.bool, (4,)),
        "key": (torch.int64, (4,)),
        "index": (torch.int64, (4,)),
    }
    for loader, name in (
        (data.fit_dataloader(), "fit"),
        (data.val_dataloader(), "selection"),
        (data.normal_dataloader("calibration"), "calibration"),
        (data.test_dataloader(), "test"),
    ):
        seen = [pair for b in loader for pair in zip(b["label"].tolist(), b["index"].tolist(), strict=True)]
        assert seen == data.splits[name]


def test_an_item_does_not_depend_on_its_batch(module: Callable[..., DataModule]) -> None:
    found: list[dict[str, Tensor]] = []
    for size in (1, 3, 16):
        data = module(eval_batch_size=size)
        data.attach("", means)
        batches = list(data.test_dataloader())
        found.append({name: torch.cat([batch[name] for batch in batches]) for name in batches[0]})
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in found[0])
    assert torch.equal(found[0]["mask"].flatten(1).any(1), found[0]["anomalous"])


def test_padding_is_not_valid(module: Callable[..., DataModule], make: Make) -> None:
    root = make()
    save(root / "part/test/good/wide.png", picture(9, 20, 40))
    data = module(root=root)
    data.attach("", means)
    batch = {k: torch.cat([b[k] for b in data.test_dataloader()]) for k in ("valid", "index")}
    names = [data.sample(0, row).name for row in batch["index"].tolist()]
    valid = batch["valid"][names.index("test/good/wide.png")]
    assert valid[8:24].all() and valid.sum() == 16 * 32
    assert batch["valid"][names.index("test/good/000.png")].all()


def test_long_training_images_make_a_long_canvas(module: Callable[..., DataModule], make: Make) -> None:
    root = make("long", "square")
    for number in range(10):
        save(root / f"long/train/good/{number:03d}.png", picture(number, 40, 110))
    data = module(root=root, category="long")
    data.attach("", means)
    assert data.canvas == (32, 96) and data.summary()["canvas"] == [32, 96]  # 88 in steps of 32
    batch = next(iter(data.fit_dataloader()))
    assert batch["image"].shape == (6, 3, 32, 96) and batch["raw"].shape == (6, 3, 4, 12)
    assert batch["valid"].sum((1, 2)).tolist() == [32 * 88] * 6  # 4 pixels to each side are the image's mirror
    test = torch.cat([b["valid"] for b in data.test_dataloader()])  # square, and they do not decide
    assert test.shape == (6, 32, 96) and test.sum((1, 2)).tolist() == [32 * 32] * 6
    both = module(root=root)
    both.setup()
    assert both.canvas == (32, 64) and {part.store.arrays.shape[1:] for part in both.parts} == {(32, 64, 3)}


@pytest.mark.parametrize("free", [0, 2**30])
def test_workers_give_the_same_batches_with_and_without_shared_memory(
    free: int, module: Callable[..., DataModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Tensor) -> None:
        raise OSError("/dev/shm has no space left")

    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    if not free:
        monkeypatch.setitem(ForkingPickler._extra_reducers, Tensor, full)  # how a tensor leaves a worker
    found = []
    for workers in (0, 2):
        data = module(workers=workers, batches_per_epoch=3)
        data.attach("means", means)
        found.append(
            [b["key"].tolist() for b in data.train_dataloader()] + [b["raw"].sum() for b in data.test_dataloader()]
        )
    assert found[0] == found[1]


# Features


def test_features_are_computed_once_in_batches_of_one_size(module: Callable[..., DataModule], make: Make) -> None:
    sizes, root = [], make()

    def extract(image: Tensor) -> Tensor:
        assert not torch.is_grad_enabled() and image.dtype == torch.uint8
        sizes.append(len(image))
        return means(image).double()

    data = module(root=root, eval_batch_size=5)
    data.attach("means", extract)
    assert sizes == [5, 5, 5, 5]  # 16 images
    again = module(root=root)
    again.attach("means", extract)
    assert len(sizes) == 4
    for one, two in zip(data.test_dataloader(), again.test_dataloader(), strict=False):
        assert one["raw"].dtype == torch.float32 and torch.equal(one["raw"], two["raw"][:5])
        assert torch.equal(one["raw"], means(one["image"]))
        break
    again.attach("other", extract)
    assert len(sizes) == 5 and sizes[-1] == 16


def test_without_identity_nothing_is_kept(module: Callable[..., DataModule], tmp_path: Path) -> None:
    data = module()
    data.attach("", means)
    batch = next(iter(data.test_dataloader()))
    assert torch.equal(batch["raw"], means(batch["image"]))
    assert not (tmp_path / "cache/features").exists()


@pytest.mark.parametrize("fault", ["short", "dtype", "rows", "text"])
def test_a_broken_feature_file_is_computed_again(
    module: Callable[..., DataModule], tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    data = module()
    data.attach("means", means)
    (path,) = (tmp_path / "cache/features").iterdir()
    sound = path.read_bytes()
    if fault == "short":
        path.write_bytes(sound[:-8])
    elif fault == "text":
        path.write_text("no features")
    else:
        with npy_writer(path, "f4" if fault == "rows" else "f8", (15 if fault == "rows" else 16, 3, 4, 4)) as write:
            write(np.zeros((16, 3, 4, 4)))
    data.attach("means", means)
    assert path.read_bytes() == sound and len(caplog.records) == 1 and "is broken" in caplog.text


def test_an_extractor_that_fails_leaves_nothing(module: Callable[..., DataModule], tmp_path: Path) -> None:
    def fails(image: Tensor) -> Tensor:
        if image.sum() != first:
            raise RuntimeError("no memory")
        return means(image)

    data = module(eval_batch_size=4)
    data.setup()
    first = torch.from_numpy(np.array(data.parts[0].store.arrays[:4])).sum()
    with pytest.raises(RuntimeError, match="no memory"):
        data.attach("means", fails)
    assert list((tmp_path / "cache/features").iterdir()) == []
    with pytest.raises(ValueError, match=r"\(B, C, \*grid\)"):
        data.attach("flat", lambda image: image.float().flatten(1))


def test_loaders_need_features_first(module: Callable[..., DataModule]) -> None:
    data = module()
    data.setup()
    with pytest.raises(ValueError, match="attach"):
        data.test_dataloader()


# What the record gets


def test_the_fingerprint_needs_no_setup(module: Callable[..., DataModule], make: Make) -> None:
    root = make("a", "b")
    whole = module(root=root)
    assert whole.fingerprints() == module(root=root, size=64, seed=5).fingerprints()
    assert whole.parts == [] and not whole.cache.exists()
    assert whole.fingerprints() != module(root=root, category="a").fingerprints()


def test_the_description_says_what_there_is_and_what_is_missing(module: Callable[..., DataModule], make: Make) -> None:
    root = make()
    (root / "part/ground_truth/hole").rename(root / "part/ground_truth/.hole")
    data = module(root=root)
    told = data.summary()
    assert told["categories"]["part"] == {
        "train": 10,
        "fit": 6,
        "selection": 2,
        "calibration": 2,
        "test": 6,
        "defects": {"good": 3, "hole": 3},
        "masks": 0,
        "groups": 16,
        "split_groups": {"fit": 6, "selection": 2, "calibration": 2, "test": 6},
        "grey_bits": 16,
        "ignored": {"hidden or system files": 3},
        "notes": ["3 defective images without a mask: image metrics only"],
    }
    assert "max(2, round(0.1 n))" in told["rule"] and "{" not in told["rule"]
    assert set(data.audit()) == {"part"}


# Config


def test_mvtec_keys_reach_the_module(make: Make, tmp_path: Path) -> None:
    root = make("a", "b")
    keys = ["category=b", "shots=4", "size=64", "aspect=stretch", "batch_size=2", f"cache={tmp_path / 'cache'}"]
    cfg = composed("data", "data=mvtec", f"data.root={root}", "seed=3", *(f"data.{key}" for key in keys))
    data = instantiate(cfg.data)
    data.setup()
    assert data.categories == ["b"] and data.seed == 3 and data.parts[0].store.arrays.shape[1] == 64
    assert {name: len(rows) for name, rows in data.splits.items()} == {
        "fit": 4,
        "selection": 0,
        "calibration": 0,
        "test": 6,
    }
    assert data.summary()["root"] == str(root)
    listed = instantiate(composed("data", "data=mvtec", f"data.root={root}", "data.category=[b,a]").data)
    assert listed.categories == ["b", "a"]


def test_a_missing_root_is_named_by_its_key() -> None:
    data = instantiate(composed("data", "data=mvtec").data)
    for call in (data.setup, data.fingerprints):
        with pytest.raises(ValueError, match=r"data\.root is not set: give data\.root="):
            call()


def test_textures_are_the_default_and_their_seed_stays(tmp_path: Path) -> None:
    cfg = composed("data", "seed=7", f"data.cache={tmp_path}", "data.category=gravel", "data.size=64")
    assert OmegaConf.to_container(cfg.data.source, resolve=True)["seed"] == 0
    data = instantiate(cfg.data)
    data.setup()
    assert data.categories == ["gravel"] and len(data.splits["test"]) == 46 and data.seed == 7
    assert (tmp_path / "textures").is_dir() and (tmp_path / "samples").is_dir()


def test_data_describe_themselves(module: Callable[..., DataModule], make: Make) -> None:
    said = module(root=make()).describe()
    assert said == {
        "source": "photographs in the layout of MVTec AD [@bergmann2021mvtec]",
        "contamination": "",
        "augmentation": "",
    }
    data = module(root=make(), contamination=0.1, augment=["turn", "shift"], augment_copies=2)
    assert data.describe()["augmentation"] == "2 copies of each, at random composed of turn and shift"
    assert data.describe()["contamination"] == (
        "10% are replaced by defective ones that nothing tells apart: the same images with synthetic defects"
    )
