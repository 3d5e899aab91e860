"""The built-in textures: deterministic, train and test apart, masks exact, nothing given away."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffect.data import decode
from diffect.data.audit import audit, auroc
from diffect.data.duplicates import thumbnails
from diffect.data.sample import IMAGE
from diffect.data.sources import texture_defects, textures
from diffect.data.sources.textures import PICTURES, Textures
from diffect.data.store import open_samples


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def digest(root: Path) -> str:
    parts = [f"{p.relative_to(root)} {hashlib.sha256(p.read_bytes()).hexdigest()}" for p in sorted(root.rglob("*.png"))]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def small(cache: Path, seed: int = 0, **changes: int) -> Textures:
    return Textures(seed, **{"size": 64, "train": 4, "good": 2, "defective": 1} | changes, cache=cache)


def test_the_layout_is_mvtec(cache: Path) -> None:
    source = Textures(cache=cache)
    assert source.categories() == ["brick", "grass", "gravel"]
    for category in source.categories():
        samples = source.samples(category)
        counts = {
            kind: sum((s.split, s.defect) == kind for s in samples) for kind in {(s.split, s.defect) for s in samples}
        }
        assert counts == {("train", "good"): 96, ("test", "good"): 16} | {
            ("test", d): 6 for d in texture_defects.DEFECTS
        }
        assert all((s.load_mask is not None) == s.anomalous for s in samples)
        assert {Image.open(s.path).size for s in samples} == {(128, 128)}


def test_one_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    same = [digest(small(tmp_path / name).folder()) for name in ("a", "b")]
    assert same[0] == same[1]
    assert digest(small(tmp_path / "a", seed=1).folder()) != same[0]


def test_the_fingerprint_follows_every_parameter(tmp_path: Path) -> None:
    variants = [small(tmp_path)] + [small(tmp_path, **{name: 33}) for name in ("seed", "size", "train", "good")]
    variants.append(small(tmp_path, defective=3))
    assert len({v.fingerprint("brick") for v in variants} | {small(tmp_path).fingerprint("grass")}) == 7
    assert small(tmp_path / "elsewhere").fingerprint("brick") == small(tmp_path).fingerprint("brick")
    assert list(tmp_path.iterdir()) == []


def test_train_and_test_crops_share_no_pixel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = np.repeat(np.arange(256, dtype=np.uint8), 2)  # each pixel tells its column
    picture = np.tile(columns[None, :, None], (512, 1, 3))
    monkeypatch.setattr(decode, "read_image", lambda path: picture)
    root = small(tmp_path, train=40, good=40).folder()
    seen = {
        split: {
            int(value) for path in (root / "brick" / split / "good").iterdir() for value in np.unique(Image.open(path))
        }
        for split in ("train", "test")
    }
    assert seen["train"] and seen["test"] and not seen["train"] & seen["test"]
    assert min(seen["train"]) < min(seen["test"]) and max(seen["train"]) > max(seen["test"])


@pytest.mark.parametrize("kind", texture_defects.DEFECTS)
@pytest.mark.parametrize("name", PICTURES)
def test_a_mask_is_exactly_what_was_changed(kind: str, name: str) -> None:
    picture = np.asarray(Image.open(textures._picture_file(name)))
    rng = np.random.Generator(np.random.PCG64(5))
    for _ in range(12):
        top, left = rng.integers(0, 512 - 96, 2)
        crop = picture[top : top + 96, left : left + 96]
        image, mask = texture_defects.apply(kind, crop, rng)
        change = np.abs(image.astype(int) - crop.astype(int))
        assert np.array_equal(change > 0, mask == 1) and change[mask == 1].min() >= texture_defects.VISIBLE
        assert 40 <= mask.sum() <= mask.size // 3
        assert image.min() >= crop.min() and image.max() <= crop.max()


def test_saved_masks_have_two_levels_and_the_size_of_their_image(cache: Path) -> None:
    for sample in Textures(cache=cache).samples("gravel"):
        if sample.load_mask:
            mask = sample.path.parents[2] / "ground_truth" / sample.defect / f"{sample.path.stem}_mask.png"
            assert set(np.unique(Image.open(mask))) == {0, 255}
            assert Image.open(mask).size == Image.open(sample.path).size


@pytest.mark.parametrize("name", PICTURES)
def test_trivial_statistics_give_nothing_away(cache: Path, name: str) -> None:
    samples = Textures(cache=cache).samples(name)
    store = open_samples(samples, IMAGE, (128, 128), "pad", cache)
    found = audit(samples, store, thumbnails(store, IMAGE, name, cache))
    assert found["warning"] is None and found["shared"] == 0 and found["near"] == 0
    assert max(found["trivial"].values()) < 0.85
    train = np.array([s.split == "train" for s in samples])
    good = np.array([s.split == "test" and not s.anomalous for s in samples])
    for statistic in ("brightness", "contrast"):
        values = store.stats[statistic]
        apart = auroc(np.concatenate([values[train], values[good]]), np.arange(train.sum() + good.sum()) >= train.sum())
        assert 0.2 < apart < 0.8


def test_a_changed_folder_is_written_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = small(tmp_path).folder()
    sound = digest(root)
    next(root.rglob("*.png")).unlink()
    assert digest(small(tmp_path).folder()) == sound and "were changed" in caplog.text
    (root / "digests.json").write_text("{")
    assert digest(small(tmp_path).folder()) == sound
    assert [path.name for path in root.parent.iterdir()] == [root.name]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"size": 200}, "size is 200"),
        ({"seed": -1}, "seed is -1"),
        ({"train": 1}, "train is 1"),
        ({"defective": 0}, "defective is 0"),
    ],
)
def test_parameters_are_checked(tmp_path: Path, changes: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=f"Textures.{said}; it must be a whole number"):
        small(tmp_path, **changes).samples("brick")


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"cannot write .*textures"):
        small(tmp_path / "file").samples("brick")
