"""A folder in MVTec AD layout: what is found, how masks are matched, one clear sentence for each fault."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import picture, save
from PIL import Image

from diffect.data.datamodule import DataModule
from diffect.data.sample import Kind
from diffect.data.sources.mvtec import Folder
from diffect.storage import digests

Make = Callable[..., Path]


def test_samples_come_train_first_and_sorted(make: Make) -> None:
    root = make("b", "a", train=2, good=1, defective=2)
    assert Folder(root).categories() == ["a", "b"]
    samples = Folder(root).samples("a")
    assert [s.name for s in samples] == [
        "train/good/000.png",
        "train/good/001.png",
        "test/good/000.png",
        "test/hole/000.png",
        "test/hole/001.png",
    ]
    assert [s.anomalous for s in samples] == [False, False, False, True, True]
    last = samples[-1]
    assert (last.category, last.split, last.defect, last.group) == ("a", "test", "hole", last.name)
    assert last.path == root / "a/test/hole/001.png" and last.size() == (40, 40)
    assert np.array_equal(last.load(), Image.open(last.path))
    assert np.array_equal(last.load_mask() * 255, Image.open(root / "a/ground_truth/hole/001_mask.png"))
    assert samples[0].load_mask is None and Folder(root).kind == Kind("image", 3, 2, "uint8")


@pytest.mark.parametrize("extension", ["png", "PNG", "jpg", "JPEG", "bmp", "tif", "TIFF"])
def test_every_extension_is_found(make: Make, extension: str) -> None:
    root = make()
    save(root / f"part/train/good/extra.{extension}", picture(7))
    assert f"train/good/extra.{extension}" in [s.name for s in Folder(root).samples("part")]


def test_what_is_no_picture_is_ignored(make: Make) -> None:
    root = make()
    before = Folder(root).samples("part")
    (root / "readme.txt").write_text("")
    (root / "part/license.txt").write_text("")
    (root / "part/train/good/.DS_Store").write_bytes(b"x")
    (root / "part/train/good/._000.png").write_bytes(b"x")
    (root / "part/test/hole/notes.csv").write_text("")
    assert Folder(root).samples("part") == before


def test_masks_are_matched_by_stem_with_or_without_suffix(make: Make) -> None:
    root = make()
    truth = root / "part/ground_truth/hole"
    before = [sample.load_mask() for sample in Folder(root).samples("part") if sample.load_mask]
    (truth / "000_mask.png").rename(truth / "000.png")
    Image.open(truth / "001_mask.png").save(truth / "001_mask.BMP")
    (truth / "001_mask.png").unlink()
    after = [sample.load_mask() for sample in Folder(root).samples("part") if sample.load_mask]
    assert len(after) == 3 and all(np.array_equal(a, b) for a, b in zip(after, before, strict=True))


def test_a_category_without_ground_truth_is_allowed(make: Make) -> None:
    root = make()
    shutil.rmtree(root / "part/ground_truth")
    assert all(s.load_mask is None for s in Folder(root).samples("part"))


def test_the_fingerprint_follows_names_and_contents_alone(make: Make, tmp_path: Path) -> None:
    root = make()
    first = Folder(root).fingerprint("part")
    copy = shutil.copytree(root, tmp_path / "elsewhere")
    assert Folder(copy).fingerprint("part") == first
    (copy / "part/test/good/000.png").rename(copy / "part/test/good/900.png")
    renamed = Folder(copy).fingerprint("part")
    mask = copy / "part/ground_truth/hole/000_mask.png"
    same_size = bytearray(mask.read_bytes())
    same_size[-1] ^= 1
    mask.write_bytes(same_size)
    assert len({first, renamed, Folder(copy).fingerprint("part")}) == 3


def test_one_folder_has_one_fingerprint_however_its_path_is_written(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make()
    (tmp_path / "link").symlink_to(root)
    monkeypatch.chdir(root.parent)
    ways = (root, Path(root.name), root / "part" / "..", tmp_path / "link", f"{root}/")
    assert len({Folder(way).fingerprint("part") for way in ways}) == 1


def test_a_file_that_was_changed_unseen_is_another(make: Make) -> None:
    root = make()
    path = root / "part/test/good/000.png"
    first, stat, content = Folder(root).fingerprint("part"), path.stat(), bytearray(path.read_bytes())
    content[-1] ^= 1  # of the same size, and the editor sets the time back
    path.write_bytes(content)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert Folder(root).fingerprint("part") != first


def test_an_unchanged_file_is_read_for_the_fingerprint_once(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    root = make()
    first = Folder(root).fingerprint("part")
    monkeypatch.setattr(digests, "_digests", {})  # as in another process
    monkeypatch.setattr(digests, "_hash", None)
    assert Folder(root).fingerprint("part") == first


# Faults: (what is done to a sound data set, the root that is passed on, what the sentence must say)


def _nothing(root: Path) -> None:
    pass


def _no_normal_images(root: Path) -> None:
    (root / "part/train/good").rename(root / "part/train/normal")


def _mask_missing(root: Path) -> None:
    (root / "part/ground_truth/hole/001_mask.png").unlink()


def _two_masks(root: Path) -> None:
    shutil.copy(root / "part/ground_truth/hole/001_mask.png", root / "part/ground_truth/hole/001.png")


def _one_stem_twice(root: Path) -> None:
    save(root / "part/test/hole/001.bmp", picture(3))


def _defect_without_masks(root: Path) -> None:
    save(root / "part/test/scratch/000.png", picture(3))


def _other_format(root: Path) -> None:
    for path in (root / "part/train/good").iterdir():
        path.rename(path.with_suffix(".webp"))


@pytest.mark.parametrize(
    ("spoil", "below", "said"),
    [
        (_nothing, "absent", ["data.root=", "does not exist"]),
        (_nothing, "part/train/good/000.png", ["is a file"]),
        (_nothing, "part", ["is a category itself", "data.root={root} data.category=part"]),
        (_nothing, "part/train", ["lies inside", "data.root={root} data.category=part"]),
        (_nothing, "part/train/good", ["lies inside", "data.root={root} data.category=part"]),
        (_nothing, "part/test/hole", ["lies inside", "data.root={root} data.category=part"]),
        (_nothing, "..", ["too high", "pass data.root=", "/set"]),
        (_nothing, "../..", ["too high", "pass data.root=", "/set"]),
        (_no_normal_images, "", ["no normal images", "train/good", "holds normal"]),
        (_mask_missing, "", ["1 of 3 images", "have no mask", "001.png", "001_mask.png"]),
        (_two_masks, "", ["have the same one", "001_mask.png", "001.png"]),
        (_one_stem_twice, "", ["have the same one", "001.bmp", "001.png"]),
        (_defect_without_masks, "", ["1 of 1 images", "scratch", "have no mask"]),
        (_other_format, "", ["no normal images", "10 files ignored", "format that is not read", "train/good/000.webp"]),
    ],
)
def test_one_sentence_for_each_fault(make: Make, spoil: Callable[[Path], None], below: str, said: list[str]) -> None:
    root = make()
    spoil(root)
    with pytest.raises(ValueError) as caught:
        Folder(root / below).samples("part")
    for words in said:
        assert words.format(root=root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_root_and_no_root(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="it is empty"):
        Folder(tmp_path).categories()
    with pytest.raises(ValueError, match=r"data\.root is not set"):
        Folder(None).categories()


def test_an_unknown_category_is_answered_with_the_near_ones(make: Make) -> None:
    root = make("bottle", "cable")
    with pytest.raises(ValueError, match="did you mean bottle"):
        Folder(root).samples("Botle")
    with pytest.raises(ValueError, match="holds bottle, cable"):
        Folder(root).samples("../set/bottle")


# Layouts


def test_subfolders_are_read_with_the_folder_that_they_lie_in(make: Make, tmp_path: Path) -> None:
    root = make()
    before = [(one.split, one.defect, one.version()) for one in Folder(root).samples("part")]
    for place in ("train/good", "test/good", "test/hole", "ground_truth/hole"):
        for path in sorted((root / "part" / place).iterdir())[1:]:
            (path.parent / "monday/early").mkdir(parents=True, exist_ok=True)
            path.rename(path.parent / "monday/early" / path.name)
    assert [(one.split, one.defect, one.version()) for one in Folder(root).samples("part")] == before
    assert Folder(root).ignored("part") == {}
    module = DataModule(Folder(root), size=32, cache=str(tmp_path / "cache"))
    said = "13 images read from subfolders, such as train/good/monday/early/001.png"
    assert said in module.summary()["categories"]["part"]["notes"]
    (root / "part/ground_truth/hole/monday/early/001_mask.png").unlink()
    with pytest.raises(ValueError, match=r"1 of 3 images in .*hole have .*hole/monday/early/001_mask\.png"):
        Folder(root).samples("part")


def test_a_mask_in_a_subfolder_belongs_to_its_own_image_or_to_that_of_the_folder(make: Make) -> None:
    root = make(defective=2)
    hole, truth = root / "part/test/hole", root / "part/ground_truth/hole"
    save(hole / "000/5.png", picture(3))
    for name in ("000/5.png", "001/5.png"):
        save(truth / name, np.ones((40, 40), np.uint8))
    (truth / "001_mask.png").unlink()
    masks = {one.name: one.mask_paths for one in Folder(root).samples("part") if one.anomalous}
    assert masks == {
        "test/hole/000.png": (truth / "000_mask.png",),
        "test/hole/000/5.png": (truth / "000/5.png",),
        "test/hole/001.png": (truth / "001/5.png",),
    }


def test_capital_letters_in_the_names_of_folders_make_no_difference(make: Make) -> None:
    root = make()
    before = [(one.split, one.defect, one.version()) for one in Folder(root).samples("part")]
    for old, new in (("train/good", "train/OK"), ("test/good", "test/Good"), ("ground_truth", "Ground_Truth")):
        (root / "part" / old).rename(root / "part" / new)
    for name in ("train", "test"):
        (root / "part" / name).rename(root / "part" / name.title())
    after = [(one.split, one.defect, one.version()) for one in Folder(root).samples("part")]
    assert sorted(after) == sorted(before)


def test_several_masks_of_an_image_are_united(make: Make) -> None:
    root = make()
    truth = root / "part/ground_truth/hole"
    first, second = np.zeros((2, 40, 40), np.uint8)
    first[2:5, 2:5], second[30:33, 4:9] = 255, 7
    (truth / "001_mask.png").unlink()
    save(truth / "001/000.png", first)
    save(truth / "001/001.png", second)
    sample = next(one for one in Folder(root).samples("part") if one.name == "test/hole/001.png")
    assert np.array_equal(sample.load_mask(), (first + second) > 0)
    before = sample.version()
    save(truth / "001/001.png", second * 2 + first)
    assert next(one for one in Folder(root).samples("part") if one.name == sample.name).version() != before


def test_names_of_folders_are_ok_and_ko_or_ones_own(make: Make) -> None:
    root = make()

    def content(source: Folder) -> list[tuple[str, bool, bool]]:
        return sorted((one.split, one.anomalous, one.load_mask is None) for one in source.samples("part"))

    before = content(Folder(root))
    for old, new in (("train/good", "train/ok"), ("test/good", "test/ok"), ("test/hole", "test/ko")):
        (root / "part" / old).rename(root / "part" / new)
    (root / "part/ground_truth/hole").rename(root / "part/ground_truth/ko")
    assert content(Folder(root)) == before
    for old, new in (("train", "learn"), ("test", "probe"), ("ground_truth", "marks")):
        (root / "part" / old).rename(root / "part" / new)
    with pytest.raises(ValueError, match="no folder in it has train/good"):
        Folder(root).categories()
    assert content(Folder(root, train="learn", test="probe", masks="marks", good="ok")) == before


def test_a_category_may_have_no_test_images(make: Make) -> None:
    root = make()
    shutil.rmtree(root / "part/test")
    shutil.rmtree(root / "part/ground_truth")
    assert {one.split for one in Folder(root).samples("part")} == {"train"}
