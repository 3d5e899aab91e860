"""The built-in textures: deterministic, no pixel in two regions, masks exact, nothing given away."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffect.data import decode, synthetic
from diffect.data.audit import audit, auroc
from diffect.data.datamodule import DataModule
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
        assert counts == {("train", "good"): 64, ("test", "good"): 16} | {
            ("test", d): 6 for d in texture_defects.DEFECTS
        }
        assert all((s.load_mask is not None) == s.anomalous for s in samples)
        assert {Image.open(s.path).size for s in samples} == {(64, 64)}


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


@pytest.mark.parametrize(("size", "regions"), [(32, 196), (64, 49), (96, 16), (128, 9), (160, 4)])
def test_no_two_regions_share_a_pixel_and_all_test_crops_come_from_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, regions: int
) -> None:
    seen: dict[tuple[str, str, str], set[int]] = {}  # numbers of pixels by split, defect and region

    def save(path: Path, crop: np.ndarray) -> None:
        assert crop.shape == (size, size)
        split, defect, region = path.parts[-3], path.parts[-2], path.stem.split("_")[1]
        seen.setdefault((split, defect, region), set()).update(crop.ravel().tolist())

    monkeypatch.setattr(decode, "read_image", lambda path: np.arange(512 * 512).reshape(512, 512, 1))
    monkeypatch.setattr(texture_defects, "apply", lambda kind, crop, rng: (crop, np.zeros_like(crop, np.uint8)))
    monkeypatch.setattr(textures, "_save", save)
    small(tmp_path, size=size, train=2 * regions, good=regions, defective=regions // 3 + 1)._write("brick", tmp_path)
    parts = {(split, defect): {r for s, d, r in seen if (s, d) == (split, defect)} for split, defect, _ in seen}
    assert parts["train", "good"].isdisjoint(parts["test", "good"])
    assert len(parts["train", "good"] | parts["test", "good"]) == regions
    assert all(parts["test", kind] == parts["test", "good"] for kind in texture_defects.DEFECTS)
    by_region: dict[str, set[int]] = {}
    for (split, _, region), pixels in seen.items():
        if split != "ground_truth":
            by_region.setdefault(region, set()).update(pixels)
    assert sum(map(len, by_region.values())) == len(set().union(*by_region.values()))


def test_regions_are_groups_that_no_split_shares(cache: Path) -> None:
    for seed in range(3):
        module = DataModule(Textures(cache=cache), category="brick", size=64, seed=seed, cache=str(cache))
        module.setup()
        groups = [{module.sample(*row).group for row in rows} for rows in module.splits.values()]
        assert [len(rows) for rows in module.splits.values()] == [42, 6, 16, 46]
        assert [len(one) for one in groups] == [21, 3, 8, 17] and len(set().union(*groups)) == 49


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
        assert texture_defects.SMALLEST <= mask.mean() <= 1 / 3
        assert image.min() >= crop.min() and image.max() <= crop.max()


@pytest.mark.parametrize("kind", texture_defects.DEFECTS)
def test_defects_are_as_frequent_at_the_border_as_elsewhere(kind: str) -> None:
    rng = np.random.default_rng(0)
    crop = rng.integers(60, 200, (48, 48), np.uint8)
    frequency = np.mean([texture_defects.apply(kind, crop, rng)[1] for _ in range(300)], axis=0)
    place = np.minimum(np.arange(48), np.arange(48)[::-1])
    ring = np.minimum(*np.meshgrid(place, place)) // 4
    assert all(0.7 < frequency[ring == k].mean() / frequency.mean() < 1.4 for k in range(6))


def test_training_and_tuning_draw_no_kind_of_defect_that_the_test_has() -> None:
    assert set(texture_defects.DEFECTS).isdisjoint(synthetic.DEFECTS)


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
    assert max(found["trivial"].values()) < 0.9
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
