"""Normal images join those of a finished run in a new run that names it; its splits stay, and strange images do not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import picture, save

from diffect.cli.main import main
from diffect.data.datamodule import DataModule
from diffect.data.sources.mvtec import Folder

SIZE = (40, 60)


def data_set(root: Path, categories: tuple[str, ...] = ("screw",)) -> Path:
    for offset, category in enumerate(categories):
        for number in range(24):
            save(root / category / "train" / "good" / f"{number:02d}.png", picture(100 * offset + number, *SIZE))
        for number, kind in enumerate(("good", "bad")):
            save(root / category / "test" / kind / "0.png", picture(100 * offset + 50 + number, *SIZE))
    return root


def images(folder: Path, count: int = 10, size: tuple[int, int] = SIZE) -> Path:
    for number in range(count):
        save(folder / f"{number}.png", picture(1000 + number, *size))
    return folder


def module(root: Path, added: Path | None, **settings: Any) -> DataModule:
    cache = str(root.parent / "cache")
    made = DataModule(Folder(root), size=32, cache=cache, added=None if added is None else str(added), **settings)
    made.setup()
    return made


def test_the_splits_of_the_other_images_stay(tmp_path: Path) -> None:
    root, folder = data_set(tmp_path / "data"), images(tmp_path / "more")
    before, after = module(root, None), module(root, folder)
    for split, rows in before.splits.items():
        assert after.splits[split][: len(rows)] == rows
    added = {split: rows[len(before.splits[split]) :] for split, rows in after.splits.items()}
    assert [len(added[split]) for split in ("fit", "selection", "calibration", "test")] == [6, 2, 2, 0]
    names = [after.sample(*row).name for rows in added.values() for row in rows]
    assert sorted(names) == [f"added/{number}.png" for number in range(10)]
    category = after.summary()["categories"]["screw"]
    assert category["added"] == 10 and category["fit"] == len(after.splits["fit"])
    assert "added" not in before.summary()["categories"]["screw"]


def test_each_category_has_a_folder(tmp_path: Path) -> None:
    root = data_set(tmp_path / "data", ("nut", "screw"))
    images(tmp_path / "more" / "screw", 3)
    after = module(root, tmp_path / "more")
    assert [after.parts[part].label for part, _ in after.splits["fit"][-3:]] == [1, 1, 1]


@pytest.mark.parametrize(
    ("place", "size", "grey", "sentence"),
    [
        (
            "",
            (30, 60),
            False,
            "added image .*/0.png is 60 x 30 pixels, and those of screw are 60 x 40: crop",
        ),
        ("", SIZE, True, "added image .*/0.png is grey, and those of screw are in colour: convert it"),
        ("nail", SIZE, False, "holds a folder nail; the categories of this run are screw"),
        (None, SIZE, False, "data.added is .*more; it must be a folder that holds images"),
    ],
)
def test_images_that_do_not_fit_are_refused(
    place: str | None, size: tuple[int, int], grey: bool, sentence: str, tmp_path: Path
) -> None:
    root = data_set(tmp_path / "data")
    if place is not None:
        pixels = picture(7, *size)
        save(tmp_path / "more" / place / "0.png", pixels[..., 0] if grey else pixels)
    with pytest.raises(ValueError, match=sentence):
        module(root, tmp_path / "more")


def test_an_image_that_is_there_already_is_refused(tmp_path: Path) -> None:
    root = data_set(tmp_path / "data")
    save(tmp_path / "more" / "again.png", picture(3, *SIZE))
    with pytest.raises(ValueError, match=r"again\.png is among the images of screw already"):
        module(root, tmp_path / "more")


def test_images_outside_of_folders_are_refused_with_several_categories(tmp_path: Path) -> None:
    root = data_set(tmp_path / "data", ("nut", "screw"))
    with pytest.raises(ValueError, match="holds images in no folder; this run has several categories, and each needs"):
        module(root, images(tmp_path / "more", 1))


@pytest.mark.slow
@pytest.mark.parametrize("denoiser", ["gaussian", "mlp"])
def test_a_new_run_names_the_old_one(denoiser: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, folder = data_set(tmp_path / "data"), images(tmp_path / "more")
    small = "data.size=32", "evaluation.latency_repeats=1", "evaluation.replicates=5", "panel=0", "gallery=0"
    steps = ("training.steps=4", "training.validate_every=2") if denoiser == "mlp" else ("scorer=density",)
    given = f"data.root={root}", f"denoiser={denoiser}", f"hydra.run.dir={tmp_path}/runs/old"
    assert main(["train", "data=mvtec", *given, *small, *steps]) == 0
    old = json.loads((tmp_path / "runs" / "old" / "record.json").read_text())
    assert main(["add", f"run={tmp_path}/runs/old", f"images={folder}"]) == 0
    assert f"normal images were added to those of run {old['signature']}" in capsys.readouterr().out
    (path,) = [path for path in (tmp_path / "runs").iterdir() if path.name != "old"]
    new = json.loads((path / "record.json").read_text())
    assert new["parent"] == old["signature"] and new["signature"] == path.name != old["signature"]
    assert new["splits"]["categories"]["screw"]["added"] == 10 and new["fingerprint"] == old["fingerprint"]
    assert (new["finetuned_from"] or {}).get("signature") == (old["signature"] if denoiser == "mlp" else None)
    assert main(["add", f"run={tmp_path}/runs/old", f"images={folder}"]) == 0
    assert "was finished already" in capsys.readouterr().out
    assert main(["add", f"run={path}", f"images={folder}"]) == 1
    assert f"to which {folder} was added; put all images to add into one folder" in capsys.readouterr().err
    save(folder / "more.png", picture(2000, *SIZE))  # another folder makes another run
    assert main(["add", f"run={tmp_path}/runs/old", f"images={folder}"]) == 0
    assert len(list((tmp_path / "runs").iterdir())) == 3 and np.isfinite(new["results"]["screw"]["scores"][0]["score"])
