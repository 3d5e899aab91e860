"""Tiles cover an image; what is found on them is merged where it belongs, and defects that only they show are found."""

import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import save

from diffect.cli.main import main
from diffect.data.tiles import Tiles


@pytest.mark.parametrize(
    ("canvas", "size", "overlap", "cell"), [((64, 96), 32, 8, 4), ((40,), 16, 0, 2), ((32, 32), 32, 0, 8)]
)
def test_what_is_cut_and_merged_is_the_image(canvas: tuple[int, ...], size: int, overlap: int, cell: int) -> None:
    tiles, images = Tiles(size, overlap), torch.rand(2, 3, *canvas, dtype=torch.float64)
    cut = tiles.cut(images)
    assert cut.shape == (2, tiles.count(canvas), 3, *[size] * len(canvas))
    tiles.check(canvas, [size // cell] * len(canvas))
    assert torch.allclose(tiles.merge(cut.flatten(0, 1), canvas), images)
    coarse = cut[(..., *[slice(None, None, cell)] * len(canvas))]
    expected = images[(..., *[slice(None, None, cell)] * len(canvas))]
    assert torch.allclose(tiles.merge(coarse.flatten(0, 1), canvas), expected)


def test_tiles_lie_on_the_canvas_and_meet_its_end() -> None:
    corners = Tiles(32, 8).corners((64, 96))
    assert corners[0] == (0, 0) and corners[-1] == (32, 64) and len(set(corners)) == len(corners) == 3 * 4
    assert Tiles().corners((64, 96)) == [(0, 0)]


def test_tiles_in_a_batch_are_images_with_noise_of_their_own() -> None:
    batch = {"raw": torch.rand(2, 3, 4, 5, 5), "label": torch.tensor([0, 1]), "key": torch.tensor([7, 90])}
    apart = Tiles(32, 8).apart(batch)
    assert apart["raw"].shape == (6, 4, 5, 5) and torch.equal(apart["raw"][4], batch["raw"][1, 1])
    assert apart["label"].tolist() == [0, 0, 0, 1, 1, 1] and apart["key"].tolist() == [7, 8, 9, 90, 91, 92]
    assert Tiles().apart(batch) is batch


def test_wrong_tiles_are_refused() -> None:
    with pytest.raises(ValueError, match=r"data.tiles.size is 32; it must be more than data.tiles.overlap, 32"):
        Tiles(32, 32)
    with pytest.raises(ValueError, match=r"data.tiles.size is 128, larger than the images of 64 x 96 pixels"):
        Tiles(128).shape((64, 96))
    with pytest.raises(ValueError, match=r"a tile begins at pixel 20, and cells have 8 pixels; choose data.size"):
        Tiles(32, 12).check((64, 64), (4, 4))


def part(seed: int, side: int, defect: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Grey metal with a fine grain (side, side, 3), a small hatched spot where there is a defect, and its mask.

    The spot is as bright as the metal, so that nothing is left of it where pixels are averaged.
    """
    rng = np.random.default_rng(seed)
    grey = np.clip(130 + 12 * rng.standard_normal((side, side)), 0, 255)
    mask = np.zeros((side, side), np.uint8)
    if defect:
        top, left = rng.integers(defect, side - 2 * defect, 2)
        grey[top : top + defect, left : left + defect] = 130 + 70 * np.where(np.arange(defect) % 2, 1, -1)
        mask[top : top + defect, left : left + defect] = 255
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2), mask


def small_defects(root: Path, side: int, defect: int) -> Path:
    for number in range(12):
        save(root / f"metal/train/good/{number}.png", part(number, side)[0])
    for number in range(6):
        save(root / f"metal/test/good/{number}.png", part(100 + number, side)[0])
        image, mask = part(200 + number, side, defect)
        save(root / f"metal/test/pit/{number}.png", image)
        save(root / f"metal/ground_truth/pit/{number}_mask.png", mask)
    return root


def auroc(root: Path, run: Path, *settings: str) -> float:
    small = ("detector=padim", "evaluation.latency_repeats=1", "evaluation.replicates=0", "evaluation.folds=2")
    given = (
        "data=mvtec",
        f"data.root={root}",
        f"hydra.run.dir={run}",
        "data.calibration=0",
        "gallery=1",
        "panel=0",
        *small,
        *settings,
    )
    assert main(["train", *given]) == 0
    record = json.loads((run / "record.json").read_text())
    return float(record["results"]["metal"]["metrics"]["image_auroc"])


@pytest.mark.slow
def test_tiles_find_what_a_small_image_does_not_show(tmp_path: Path) -> None:
    root = small_defects(tmp_path / "data", 160, 4)
    whole = auroc(root, tmp_path / "whole", "data.size=64")
    tiled = auroc(root, tmp_path / "tiled", "data.size=160", "data.tiles.size=64", "data.tiles.overlap=16")
    assert tiled > 0.95 and whole < 0.8  # of 6 and 6 images
    out = tmp_path / "out"
    asked = "score", f"run={tmp_path}/tiled", f"images={root}/metal/test/pit/3.png", f"out={out}", "explain=true"
    assert main([*asked]) == 0
    told = json.loads((out / "explained" / "3.json").read_text())
    own = json.loads((tmp_path / "tiled" / "record.json").read_text())["results"]["metal"]["scores"]
    scores = {row["name"]: row["score"] for row in own}
    assert told["score"] == pytest.approx(scores["test/pit/3.png"], rel=1e-5)
    assert told["nearest_normal"][0]["image"].startswith("metal/train/good/")


@pytest.mark.long
def test_a_pit_of_8_pixels_is_found_at_1024_pixels_in_4_gigabytes(tmp_path: Path) -> None:
    root = small_defects(tmp_path / "data", 1024, 8)
    whole = auroc(root, tmp_path / "whole", "data.size=256")
    tiled = auroc(root, tmp_path / "tiled", "data.size=1024", "data.tiles.size=256", "data.tiles.overlap=32")
    assert tiled > 0.95 and whole < 0.9  # of 6 and 6 images
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 4 * 2**20  # in KiB
