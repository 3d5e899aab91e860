"""What is ignored changes nothing: not what is learned, not a score; and a region that does not fit is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pictures import picture, save
from PIL import Image

import diffect
from diffect.cli.main import main
from diffect.data.canvas import IGNORED, fit_to_canvas
from diffect.data.regions import Regions

SIZE = (40, 60)


def mask(path: Path, left: int, width: int) -> Path:
    drawn = np.zeros(SIZE, np.uint8)
    drawn[:, left : left + width] = 255
    return save(path, drawn)


def ignored(regions: Regions, category: str | None = "screw", name: str = "test/good/7.png") -> list[int]:
    """The columns that are ignored, [first, last + 1]; empty where all is looked at."""
    kept = regions.of(category, name, SIZE)
    columns = [] if kept is None else np.flatnonzero(~kept.all(0))
    return [int(columns[0]), int(columns[-1]) + 1] if len(columns) else []


def test_a_region_is_a_rectangle_a_picture_a_folder_or_one_of_each_category(tmp_path: Path) -> None:
    one = mask(tmp_path / "one.png", 0, 10)
    mask(tmp_path / "all" / "screw.png", 10, 10)
    mask(tmp_path / "all" / "screw" / "test" / "good" / "7.png", 20, 10)
    mask(tmp_path / "all" / "new.png", 30, 10)
    folder = tmp_path / "all"
    assert ignored(Regions(ignore=[0, 0, 5, 40])) == ignored(Regions(ignore=[[0, 0, 2, 40], [2, 0, 3, 40]])) == [0, 5]
    assert ignored(Regions(ignore=str(one))) == [0, 10] and ignored(Regions(look_at=str(one))) == [10, 60]
    assert ignored(Regions(ignore=str(folder))) == [20, 30]  # this image's
    assert ignored(Regions(ignore=str(folder)), name="test/good/8.png") == [10, 20]  # its category's
    assert ignored(Regions(ignore=str(folder)), None, "new.jpg") == [30, 40]
    assert ignored(Regions(ignore=str(folder)), "nut", "test/good/8.png") == []
    by_category = {"screw": [0, 0, 5, 40], "nut": str(one)}
    assert ignored(Regions(ignore=by_category)) == [0, 5] and ignored(Regions(ignore=by_category), "nut") == [0, 10]
    assert ignored(Regions(look_at=[0, 0, 50, 40], ignore=[0, 0, 5, 40])) == [0, 60]  # 0-5 and 50-60
    assert not Regions() and Regions(ignore=[0, 0, 5, 40])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"ignore": [50, 0, 20, 10]}, r"the image 7 has the rectangle \[50, 0, 20, 10\], which reaches beyond"),
        ({"ignore": [0, 0, 60, 40]}, r"data.ignore leaves nothing of the image 7"),
        ({"ignore": [0, 0, 5]}, r"data.ignore is \[0, 0, 5\]; it must be a mask picture, a folder"),
        ({"ignore": [[-1, 0, 5, 5]]}, r"data.ignore is \[\[-1, 0, 5, 5\]\]; it must be"),
        ({"look_at": "nowhere.png"}, r"data.look_at is nowhere.png: there is no such file or folder"),
        ({"look_at": "small.png"}, r"mask .*small.png is 6 x 4 pixels, its image 60 x 40"),
    ],
)
def test_a_region_that_does_not_fit_is_refused(
    settings: dict[str, Any], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "small.png", np.full((4, 6), 255, np.uint8))
    with pytest.raises(ValueError, match=sentence):
        Regions(**settings).check().of("screw", "7", SIZE)


@pytest.mark.parametrize("canvas", [(40, 60), (32, 32), (64, 64)])
def test_an_image_on_the_canvas_does_not_depend_on_what_is_ignored(canvas: tuple[int, int]) -> None:
    region = np.ones(SIZE, bool)
    region[5:20, 10:30] = False
    one, other = picture(1, *SIZE), picture(1, *SIZE).copy()
    other[~region] = picture(2, *SIZE)[~region]
    placed = [fit_to_canvas(pixels, np.ones(SIZE, np.uint8), canvas, "pad", region) for pixels in (one, other)]
    assert np.array_equal(placed[0][0], placed[1][0])
    image, marked, (top, left, height, width) = placed[0]
    inner = marked[top : top + height, left : left + width]
    assert np.mean(inner == IGNORED) == pytest.approx((15 * 20) / (40 * 60), abs=0.03) and np.mean(inner == 1) > 0.8
    if canvas == SIZE:
        assert np.array_equal(image[region], one[region])


def test_a_region_that_vanishes_on_the_canvas_is_refused() -> None:
    region = np.arange(SIZE[0] * SIZE[1]).reshape(SIZE) == 1
    with pytest.raises(ValueError, match="region that is looked at is too small: at 32 x 21 pixels nothing is left"):
        fit_to_canvas(picture(1, *SIZE), None, (32, 32), "pad", region)


@pytest.mark.slow
def test_a_region_that_fits_no_image_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(20):
        save(tmp_path / "data" / "screw" / "train" / "good" / f"{number}.png", picture(number, *SIZE))
    asked = "data=mvtec", f"data.root={tmp_path}/data", "data.ignore=[0,0,500,2]", f"hydra.run.dir={tmp_path}/run"
    assert main(["train", *asked]) == 1
    assert capsys.readouterr().err.count("has the rectangle [0, 0, 500, 2], which reaches beyond the image") == 1


@pytest.mark.slow
def test_neither_training_nor_scores_depend_on_what_is_ignored(tmp_path: Path) -> None:
    """Two data sets and two photographs that differ only where they are ignored, in the corner and in the padding."""
    corner = [30, 0, 30, 20]
    for name, seed in (("one", 1000), ("other", 2000)):
        files = [f"train/good/{i:02d}" for i in range(24)] + [
            f"test/{kind}/{i}" for kind in ("good", "bad") for i in (0, 1)
        ]
        for number, file in enumerate(files):
            pixels = picture(number, *SIZE).copy()
            if "bad" in file:
                pixels[25:35, 10:20] = 0
            pixels[:20, 30:] = picture(seed + number, 20, 30)
            save(tmp_path / name / "screw" / f"{file}.png", pixels)
    small = "data.size=32", "evaluation.latency_repeats=1", "evaluation.replicates=5", "panel=2", "gallery=1"
    found = {}
    for name in ("one", "other"):
        given = (
            "data=mvtec",
            f"data.root={tmp_path / name}",
            f"data.ignore={corner}",
            f"hydra.run.dir={tmp_path}/run-{name}",
        )
        assert main(["train", *given, *small]) == 0
        record = json.loads((tmp_path / f"run-{name}" / "record.json").read_text())
        found[name] = [row["score"] for row in record["results"]["screw"]["scores"]]
    assert found["one"] == found["other"]  # to the last bit
    detector = diffect.load(tmp_path / "run-one")
    results = [detector(tmp_path / name / "screw" / "test" / "bad" / "0.png") for name in ("one", "other")]
    assert results[0].score == results[1].score and np.array_equal(results[0].map, results[1].map)
    assert not results[0].valid.all() and results[0].map[5, 50] == pytest.approx(results[0].map.min(), abs=1e-5)
    shutil.copytree(tmp_path / "one" / "screw" / "test" / "bad", tmp_path / "new")
    asked = (
        "score",
        f"run={tmp_path}/run-one",
        f"images={tmp_path}/new",
        f"out={tmp_path}/out",
        "maps=mask",
        "threshold=0",
    )
    assert main([*asked]) == 0
    drawn = np.asarray(Image.open(tmp_path / "out" / "masks" / "0.png"))
    assert drawn[30:, :20].any() and not drawn[2:18, 32:].any()
    assert main([*asked, "look_at=[0,0,20,40]"]) == 0
    drawn = np.asarray(Image.open(tmp_path / "out" / "masks" / "0.png"))
    assert drawn[30:, :18].any() and not drawn[:, 22:].any()
