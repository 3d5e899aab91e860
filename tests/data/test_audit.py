"""The audit: shared and nearly shared images are found, and statistics that give defects away are named."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import picture, save
from PIL import Image
from sklearn.metrics import roc_auc_score

from diffect.data.audit import audit, auroc
from diffect.data.duplicates import thumbnails
from diffect.data.sample import IMAGE
from diffect.data.sources.mvtec import Folder
from diffect.data.store import open_samples

Make = Callable[..., Path]


def of(root: Path, cache: Path) -> dict:
    samples = Folder(root).samples("part")
    store = open_samples(samples, IMAGE, (64, 64), "pad", cache)
    return audit(samples, store, thumbnails(store, IMAGE, "part", cache))


def test_auroc_is_that_of_scikit_learn_with_ties() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        positive = rng.random(30) < 0.4
        scores = rng.integers(0, 6, 30) - 2.5
        assert auroc(scores, positive) == pytest.approx(roc_auc_score(positive, scores), abs=1e-12)
    assert auroc(np.ones(4), np.array([True, False, True, False])) == 0.5
    assert auroc(np.ones(3), np.array([True, True, True])) is None


def test_a_sound_set_has_no_warning(make: Make, tmp_path: Path) -> None:
    root = make(good=8, defective=8)
    for i in range(8):
        save(root / f"part/test/hole/{i:03d}.png", picture(300 + i))
    found = of(root, tmp_path / "cache")
    assert (found["shared"], found["near"], found["warning"], found["examples"]) == (0, 0, None, [])
    assert set(found["trivial"]) == {
        "brightness",
        "contrast",
        "sharpness",
        "minimum",
        "maximum",
        "bytes_per_pixel",
        "width",
        "height",
    }
    assert found["trivial"]["width"] == 0.5


def test_a_copied_image_is_found_whatever_its_name(make: Make, tmp_path: Path) -> None:
    root = make()
    shutil.copy(root / "part/train/good/004.png", root / "part/test/good/zzz.png")
    found = of(root, tmp_path / "cache")
    assert found["shared"] == 1 and found["near"] == 0
    assert found["examples"] == [["test/good/zzz.png", "train/good/004.png"]]
    assert found["warning"].startswith("1 test images are also in train")


def _jpeg(picture: Image.Image, path: Path) -> None:
    picture.save(path.with_suffix(".jpg"), quality=85)


def _brighter(picture: Image.Image, path: Path) -> None:
    picture.point(lambda value: value + 12).save(path)


def _smaller(picture: Image.Image, path: Path) -> None:
    picture.resize((160, 160), Image.Resampling.BICUBIC).save(path)


@pytest.mark.parametrize("alter", [_jpeg, _brighter, _smaller])
def test_a_copy_that_was_saved_anew_is_nearly_shared(
    make: Make, tmp_path: Path, alter: Callable[[Image.Image, Path], None]
) -> None:
    root = make()
    save(root / "part/train/good/large.png", picture(77, 200, 200))
    alter(Image.open(root / "part/train/good/large.png"), root / "part/test/good/copy.png")
    found = of(root, tmp_path / "cache")
    assert found["shared"] == 0 and found["near"] == 1 and found["examples"][0][1] == "train/good/large.png"
    assert "1 are near-copies" in found["warning"]


def test_flat_surfaces_and_aligned_parts_are_no_copies(make: Make, tmp_path: Path) -> None:
    root = make()
    rng = np.random.default_rng(3)
    part = picture(5, 64, 64).astype(float)
    for split in ("train", "test"):
        for i in range(4):
            flat = 128 + rng.normal(0, 2, (64, 64, 3))
            save(root / f"part/{split}/good/flat{i}.png", flat.clip(0, 255).astype(np.uint8))
            # the same part photographed again: its surface differs by a few grey levels, on a coarse scale
            surface = np.kron(rng.normal(0, 4, (16, 16, 1)), np.ones((4, 4, 3)))
            save(root / f"part/{split}/good/aligned{i}.png", (part + surface).clip(0, 255).astype(np.uint8))
    assert of(root, tmp_path / "cache")["near"] == 0


def _spoil(root: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    for path in (root / "part/test/hole").iterdir():
        Image.fromarray(change(np.asarray(Image.open(path)))).save(path)


def test_brightness_that_separates_is_named_with_its_direction(make: Make, tmp_path: Path) -> None:
    root = make(good=6, defective=6)
    _spoil(root, lambda pixels: (pixels * 0.7).astype(np.uint8))
    found = of(root, tmp_path / "cache")
    assert found["trivial"]["brightness"] == 1.0 and found["direction"]["brightness"] == "lower"
    for words in ("brightness", "lower on defects", "6 normal", "6 defective", "AUROC 1.000"):
        assert words in found["warning"]
    assert "\n" not in found["warning"]


def test_size_and_bytes_are_those_of_the_files(make: Make, tmp_path: Path) -> None:
    root = make(good=6, defective=6)
    for path in (root / "part/test/good").iterdir():
        Image.open(path).resize((40, 50)).save(path)
    found = of(root, tmp_path / "cache")
    assert found["trivial"]["height"] == 1.0 and found["direction"]["height"] == "lower"
    assert "height" in found["warning"]


def test_few_images_and_one_kind_only_give_no_warning(make: Make, tmp_path: Path) -> None:
    root = make(good=4, defective=4)
    _spoil(root, lambda pixels: (pixels * 0.7).astype(np.uint8))
    assert of(root, tmp_path / "a")["warning"] is None
    shutil.rmtree(root / "part/test/hole")
    found = of(root, tmp_path / "b")
    assert set(found["trivial"].values()) == {None} and found["warning"] is None and found["direction"] == {}
