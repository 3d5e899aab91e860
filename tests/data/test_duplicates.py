"""Copies among the training images are found, counted, and kept in one split; without copies nothing changes."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffect.data.datamodule import DataModule
from diffect.data.duplicates import alike, united
from diffect.data.sources.mvtec import Folder

Make = Callable[..., Path]
Copy = Callable[[Path, int], None]


def _exact(path: Path, number: int) -> None:
    shutil.copy(path, path.with_name(f"{path.stem}_copy{number}.png"))


def _saved_anew(path: Path, number: int) -> None:
    Image.open(path).save(path.with_name(f"{path.stem}_copy{number}.jpg"), quality=96 - number, subsampling=0)


@pytest.mark.parametrize("copy", [_exact, _saved_anew])
def test_copies_are_counted_and_stay_in_one_split(make: Make, tmp_path: Path, copy: Copy) -> None:
    root = make(train=24)
    for path in sorted((root / "part/train/good").iterdir())[:12]:
        copy(path, 1)
        copy(path, 2)
    module = DataModule(Folder(root), size=32, cache=str(tmp_path / "cache"))
    module.setup()
    found = module.audit()["part"]
    assert found["copies"] == 24 and "24 training images are copies or near-copies of others" in found["warning"]
    assert module.summary()["categories"]["part"]["groups"] == 24 // 3 + 6  # blocks of 3 neighbours, which copies join
    stems = {name: {module.sample(*row).path.stem[:3] for row in rows} for name, rows in module.splits.items()}
    assert not stems["fit"] & stems["selection"] and not stems["fit"] & stems["calibration"]
    assert not stems["selection"] & stems["calibration"]
    assert len(module.splits["calibration"]) >= 12 and len(module.splits["selection"]) >= 5


def test_flat_pictures_are_copies_only_where_they_are_equal() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(0, 0.1, (3, 1024))
    assert len(set(alike(np.arange(3), flat).tolist())) == 3
    assert len(set(alike(np.array([7, 7, 8]), flat).tolist())) == 2
    assert alike(np.array([7, 8, 7]), None).tolist() == [0, 1, 0]


def test_groups_and_copies_are_united_over_any_number_of_links() -> None:
    by_group, by_copy = np.array(["a", "a", "b", "c", "d"]), np.array([0, 1, 1, 2, 3])
    assert united(by_group, by_copy).tolist() == [0, 0, 0, 1, 2]
    assert united(by_group, links=[np.array([[4, 3]])]).tolist() == [0, 0, 1, 2, 2]


def test_copies_of_large_sets_are_found_chunk_by_chunk() -> None:
    small = np.random.default_rng(0).normal(0, 30, (1100, 1024))
    small[1050] = small[3] + 0.2
    labels = alike(np.arange(1100), small)
    assert labels[1050] == labels[3] and len(np.unique(labels)) == 1099
