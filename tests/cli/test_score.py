"""Long images through the command line: trained on their own canvas by every network, scored again to the same numbers.

The canvas is the training run's, whatever images are scored with it; padding is neither scored nor counted.
"""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffect.cli.main import main

pytestmark = pytest.mark.slow

HEIGHT, WIDTH = 75, 186  # of the images, as 500 x 1240
SMALL = (
    "data=mvtec",
    "data.root=data",
    "data.size=64",
    "data.batch_size=4",
    "training.steps=2",
    "training.validate_every=1",
    "training.warmup=1",
    "evaluation.replicates=5",
    "evaluation.latency_repeats=1",
    "panel=3",
)
NETWORKS = {
    "conv": ("width=16", "depth=1"),
    "mlp": ("width=16", "depth=1"),
    "dit": ("width=32", "depth=1", "heads=2"),
    "unet": ("widths=[16,32]", "attention=[false,true]", "head=16"),
}


def board(rng: np.random.Generator) -> np.ndarray:
    """A smooth grey board (HEIGHT, WIDTH, 3) with a grain of its own."""
    coarse = Image.fromarray(rng.integers(90, 160, (10, 25), dtype=np.uint8))
    return np.repeat(np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC))[..., None], 3, axis=2)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A category of long boards, some with a crack, and one square photograph among the test images."""
    root, rng = tmp_path_factory.mktemp("long"), np.random.default_rng(0)

    def save(name: str, pixels: np.ndarray) -> None:
        path = root / "data" / "board" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)

    for number in range(16):
        save(f"train/good/{number}.png", board(rng))
    for number in range(4):
        save(f"test/good/{number}.png", board(rng))
        cracked, mask = board(rng).copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
        cracked[30:34, 40:150], mask[30:34, 40:150] = 20, 255
        save(f"test/crack/{number}.png", cracked)
        save(f"ground_truth/crack/{number}_mask.png", mask)
    save("test/good/square.png", board(rng)[:, :HEIGHT])
    return root


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", *SMALL, "denoiser=conv", *(f"denoiser.network.{key}" for key in NETWORKS["conv"])]) == 0
    (record,) = folder.glob("outputs/single/*/record.json")
    return record.parent


def scores(path: Path) -> dict[str, float]:
    with path.open() as file:
        return {row["name"].removeprefix("board/"): float(row["score"]) for row in csv.DictReader(file)}


def test_the_record_states_the_canvas(trained: Path) -> None:
    record = json.loads((trained / "record.json").read_text())
    assert record["splits"]["canvas"] == [64, 160]  # 64 x 186 / 75 = 158.7


def test_the_panel_has_a_row_for_each_long_image(trained: Path) -> None:
    width, height = Image.open(trained / "panel.png").size
    assert (width, height) == (3 * 160 + 2 * 4, 3 * 64 + 2 * 4)  # image, mask and map of three images


def test_scores_are_those_of_the_run_whatever_else_is_scored(trained: Path, folder: Path, tmp_path: Path) -> None:
    test = folder / "data" / "board" / "test"
    own = scores(trained / "scores.csv")
    assert len(own) == 9
    for name in ("crack/0.png", "good/square.png"):  # alone: a square one must not choose a canvas of its own
        assert main(["score", f"run={trained}", f"images={test / name}", f"out={tmp_path}/out"]) == 0
        (found,) = scores(tmp_path / "out" / "scores.csv").values()
        assert found == pytest.approx(own[f"test/{name}"], rel=1e-5)
        assert Image.open(tmp_path / "out" / "maps" / Path(name).name).size == (160, 64)


def before(out: Path) -> Path:
    """A map of an earlier call, which stays where a call is refused."""
    kept = out / "maps" / "earlier.png"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(b"kept")
    return kept


def test_the_category_of_a_run_with_one_is_known(
    trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "score", f"run={trained}", f"images={folder / 'data' / 'board' / 'test'}", f"out={tmp_path}"
    assert main([*asked, "category=none"]) == 0
    with (tmp_path / "scores.csv").open() as file:
        assert {row["category"] for row in csv.DictReader(file)} == {"board"}
    assert "9 images scored, no decision was made, because the run had too few" in capsys.readouterr().out


def test_maps_are_saved_as_numbers_at_the_size_of_the_image(trained: Path, folder: Path, tmp_path: Path) -> None:
    crack = folder / "data" / "board" / "test" / "crack"
    assert main(["score", f"run={trained}", f"images={crack}", f"out={tmp_path}/both", "maps=both"]) == 0
    assert main(["score", f"run={trained}", f"images={crack}", f"out={tmp_path}/npy", "maps=npy"]) == 0
    assert {path.suffix for path in (tmp_path / "both" / "maps").iterdir()} == {".png", ".npy"}
    assert sorted(path.name for path in (tmp_path / "npy" / "maps").iterdir()) == [f"{i}.npy" for i in range(4)]
    for name in ("0.npy", "3.npy"):
        values = np.load(tmp_path / "npy" / "maps" / name)
        assert values.shape == (HEIGHT, WIDTH) and values.dtype == np.float32 and values.std() > 0
        assert np.array_equal(values, np.load(tmp_path / "both" / "maps" / name))


def test_a_map_does_not_depend_on_what_else_is_scored(trained: Path, folder: Path, tmp_path: Path) -> None:
    test = folder / "data" / "board" / "test"
    for images in ("crack", "crack/2.png"):
        assert main(["score", f"run={trained}", f"images={test / images}", f"out={tmp_path / images}"]) == 0
    whole, alone = (np.asarray(Image.open(tmp_path / images / "maps" / "2.png")) for images in ("crack", "crack/2.png"))
    assert np.abs(whole.astype(int) - alone).max() <= 1


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("a.bmp.png", "images holds a.bmp and a.bmp.png, whose pictures would both be a.bmp.png; rename one"),
        ("b.png", "b.png cannot be read as an image (no known image format)"),
    ],
)
def test_images_are_checked_before_anything_is_deleted(
    wrong: str, sentence: str, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images, kept = tmp_path / "images", before(tmp_path / "out")
    images.mkdir()
    Image.new("RGB", (WIDTH, HEIGHT)).save(images / "a.bmp")
    (images / wrong).write_bytes((images / "a.bmp").read_bytes() if wrong == "a.bmp.png" else b"no image")
    assert main(["score", f"run={trained}", f"images={images}", f"out={tmp_path / 'out'}"]) != 0
    assert sentence in capsys.readouterr().err and kept.is_file()


def test_millimetres_without_explanations_is_refused(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = before(tmp_path)
    assert main(["score", f"run={trained}", f"out={tmp_path}", "mm_per_pixel=0.1"]) != 0
    assert "mm_per_pixel is 0.1, but only explanations tell sizes; set explain=true" in capsys.readouterr().err
    assert kept.is_file()


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "conv"])
def test_every_network_learns_on_a_long_grid(
    network: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    settings = [f"denoiser.network.{key}" for key in NETWORKS[network]]
    assert main(["train", *SMALL, f"denoiser={network}", *settings, f"hydra.run.dir={tmp_path}/run"]) == 0
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert all(0 <= record["results"]["board"]["metrics"][name] <= 1 for name in ("image_auroc", "pixel_auroc"))
