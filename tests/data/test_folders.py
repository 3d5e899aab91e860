"""The one reader of folders: every file is an image or is ignored with a reason; nothing is left out in silence."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import picture, save

from diffect.data.datamodule import DataModule
from diffect.data.sources import folders
from diffect.data.sources.folders import DOCUMENT, HIDDEN, NOWHERE, ROUND, SPECIAL, UNREAD, scan
from diffect.data.sources.mvtec import Folder

Make = Callable[..., Path]
READ = ("png", "PNG", "jpg", "JPEG", "jpeg", "bmp", "tif", "TIFF")
OTHER = ("gif", "webp", "heic", "avif", "jp2", "jxl", "dng", "raw", "exr", "dcm", "psd", "tga", "ico", "ppm", "zip")
DOCUMENTS = ("txt", "md", "csv", "json", "xml", "yaml", "log", "ini", "pdf", "html")
SYSTEM = (".DS_Store", "._000.png", "Thumbs.db", "desktop.ini", "@eaDir/a.png", "__MACOSX/b.png", ".hidden/c.png")


def reasons(folder: Path) -> dict[str, str]:
    """{name: why it is ignored, or "" for an image} of all files in a folder."""
    listing = scan(folder)
    read = {listing.name(path): "" for path in listing.images}
    return read | {name: reason for reason, names in listing.reasons().items() for name in names}


def test_every_file_is_read_or_ignored_with_its_reason(tmp_path: Path) -> None:
    root = tmp_path / ".set"  # a folder that is given may be hidden
    expected = {}
    for suffix in READ:
        save(root / f"sub/{suffix}.{suffix}", picture(1))
        expected[f"sub/{suffix}.{suffix}"] = ""
    for names, reason in (
        ([f"a.{suffix}" for suffix in OTHER] + ["without_suffix"], UNREAD),
        ([f"sub/b.{suffix}" for suffix in DOCUMENTS], DOCUMENT),
        (SYSTEM, HIDDEN),
    ):
        for name in names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"x")
            expected[name] = reason
    (root / "gone.png").symlink_to("/nowhere/x.png")
    (root / "sub/again").symlink_to(root)
    os.mkfifo(root / "pipe.png")
    expected |= {"gone.png": NOWHERE, "sub/again": ROUND, "pipe.png": SPECIAL}
    assert reasons(root) == expected


def test_links_are_followed(tmp_path: Path) -> None:
    save(tmp_path / "elsewhere/deep/a.png", picture(1))
    (tmp_path / "set").mkdir()
    (tmp_path / "set/linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set/one.png").symlink_to(tmp_path / "elsewhere/deep/a.png")
    assert reasons(tmp_path / "set") == {"linked/deep/a.png": "", "one.png": ""}


def test_a_file_a_pattern_and_a_name_like_a_pattern(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a[1].png", "a1.png", "b.png", "odd.webp", "c/d.png"):
        save(tmp_path / "set" / name, picture(1)[..., 0])
    assert scan(tmp_path / "set/a[1].png").images == [tmp_path / "set/a[1].png"]
    assert scan(tmp_path / "set/odd.webp").images == [tmp_path / "set/odd.webp"]  # it was asked for by name
    assert reasons(tmp_path / "set/[ab]1.png") == {"a1.png": ""}
    assert reasons(tmp_path / "set/*") == {"a1.png": "", "a[1].png": "", "b.png": "", "odd.webp": UNREAD, "c/d.png": ""}
    monkeypatch.chdir(tmp_path)
    assert reasons(Path("set/**/d.png")) == {"d.png": ""}
    for absent in ("set/absent", "set/x*.png"):
        with pytest.raises(ValueError, match="does not exist"):
            scan(absent)


def test_remarks_count_and_give_an_example(tmp_path: Path) -> None:
    for name in ("a.webp", "b.webp", ".c.png", "d.txt"):
        save(tmp_path / "x.png", picture(1)).rename(tmp_path / name)
    assert folders.remarks(scan(tmp_path).reasons()) == [f"2 files ignored ({UNREAD}), such as a.webp"]


def test_files_where_no_image_is_looked_for_are_named(make: Make) -> None:
    root = make()
    for name in ("test/flat.png", "loose.png", "train/bad/1.png", "ground_truth/good/1.png"):
        save(root / "part" / name, picture(1))
    save(root / "part/ground_truth/hole/777_mask.png", np.zeros((40, 40), np.uint8))
    before = Folder(make("other")).samples("other")
    assert len(Folder(root).samples("part")) == len(before)
    by_reason = {reason[:8]: names for reason, names in Folder(root).ignored("part").items()}
    assert by_reason == {
        "not in t": ["loose.png", "test/flat.png", "train/bad/1.png"],
        "masks th": ["ground_truth/hole/777_mask.png"],
        "masks of": ["ground_truth/good/1.png"],
    }


def test_five_hundred_mixed_files_are_validated_in_one_pass(make: Make, tmp_path: Path) -> None:
    root = make(train=30, good=20, defective=20)
    part = root / "part"
    rng = np.random.default_rng(0)
    folder_names = ["train/good", "test/good", "test/hole", "ground_truth/hole", "train/good/deep", "test", ""]
    for i in range(370):
        folder = part / folder_names[i % len(folder_names)]
        suffix = str(rng.choice([*OTHER, *DOCUMENTS, *SYSTEM[:4]]))
        name = f"{i}_{suffix}" if suffix in SYSTEM else f"{i}.{suffix}"
        folder.mkdir(exist_ok=True)
        (folder / (f".{name}" if suffix in SYSTEM else name)).write_bytes(rng.bytes(20))
    for i in range(20):
        save(part / f"train/bad/{i}.png", picture(i))
        (part / f"test/good/link{i}.png").symlink_to(f"/nowhere/{i}.png")
    corrupt = [part / f"train/good/corrupt{i}.{suffix}" for i, suffix in enumerate([*READ, "png", "tif"])]
    for i, path in enumerate(corrupt):
        save(path, picture(500 + i))
        path.write_bytes(path.read_bytes()[: (i % 3) * 40])
    files = [path for path in part.rglob("*") if not path.is_dir()]
    assert len(files) == 510
    samples, ignored = Folder(root).samples("part"), Folder(root).ignored("part")
    masks = set((part / "ground_truth/hole").glob("*_mask.png"))
    accounted = {one.path for one in samples} | masks | {part / name for names in ignored.values() for name in names}
    assert accounted == set(files)
    with pytest.raises(ValueError) as caught:
        DataModule(Folder(root), size=32, cache=str(tmp_path / "cache")).setup()
    assert str(caught.value).startswith("10 of 80 samples of part cannot be read:")
    assert all(path.name in str(caught.value) for path in corrupt)
    for path in corrupt:
        path.unlink()
    module = DataModule(Folder(root), size=32, cache=str(tmp_path / "cache"))
    module.setup()
    found = module.summary()["categories"]["part"]
    assert (found["train"], found["defects"]) == (30, {"good": 20, "hole": 20})
    assert sum(found["ignored"].values()) == 510 - 10 - 90
    said = "20 links ignored (links that lead nowhere), such as test/good/link0"
    assert any(note.startswith(said) for note in found["notes"])
