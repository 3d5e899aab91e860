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
from diffect.explain import picture

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


def test_the_category_of_a_run_with_one_is_known(
    trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = "score", f"run={trained}", f"images={folder / 'data' / 'board' / 'test'}", f"out={tmp_path}"
    assert main([*asked, "category=none"]) == 0
    with (tmp_path / "scores.csv").open() as file:
        assert {row["category"] for row in csv.DictReader(file)} == {"board"}
    assert (
        "9 images scored, no decision was made, because board: 4 calibration images can promise"
        in capsys.readouterr().out
    )


def test_maps_are_saved_as_numbers_at_the_size_of_the_image(trained: Path, folder: Path, tmp_path: Path) -> None:
    crack = folder / "data" / "board" / "test" / "crack"
    assert main(["score", f"run={trained}", f"images={crack}", f"out={tmp_path}/both", "maps=both"]) == 0
    assert main(["score", f"run={trained}", f"images={crack}", f"out={tmp_path}/npy", "maps=npy"]) == 0
    assert {path.suffix for path in (tmp_path / "both" / "maps").iterdir()} == {".png", ".npy"}
    every = "maps=[npy,mask,overlay]", "threshold=1.2"
    assert main(["score", f"run={trained}", f"images={crack}", f"out={tmp_path}/every", *every]) == 0
    assert sorted(path.name for path in (tmp_path / "npy" / "maps").iterdir()) == [f"{i}.npy" for i in range(4)]
    for name in ("0.npy", "3.npy"):
        values = np.load(tmp_path / "npy" / "maps" / name)
        assert values.shape == (HEIGHT, WIDTH) and values.dtype == np.float32 and values.std() > 0
        assert np.array_equal(values, np.load(tmp_path / "both" / "maps" / name))
        picture = name.replace("npy", "png")
        mask = np.asarray(Image.open(tmp_path / "every" / "masks" / picture))
        assert np.array_equal(mask, (values > 1.2) * 255) and 0 < mask.mean() < 255
        assert Image.open(tmp_path / "every" / "overlays" / picture).size == (WIDTH, HEIGHT)


def test_a_map_does_not_depend_on_what_else_is_scored(trained: Path, folder: Path, tmp_path: Path) -> None:
    test = folder / "data" / "board" / "test"
    for images in ("crack", "crack/2.png"):
        assert main(["score", f"run={trained}", f"images={test / images}", f"out={tmp_path / images}"]) == 0
    whole, alone = (np.asarray(Image.open(tmp_path / images / "maps" / "2.png")) for images in ("crack", "crack/2.png"))
    assert np.abs(whole.astype(int) - alone).max() <= 1


def image(name: Path, shift: int = 0) -> None:
    name.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.roll(board(np.random.default_rng(3)), shift, axis=1)).save(name)


def rows(out: Path) -> dict[str, dict[str, str]]:
    with (out / "scores.csv").open() as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_no_two_images_share_a_file(trained: Path, tmp_path: Path) -> None:
    for shift, name in enumerate(("a.bmp", "a.bmp.png", "a.png", "a.jpg", "A.png", "sub/a.png")):
        image(tmp_path / "images" / name, shift)
    assert main(["score", f"run={trained}", f"images={tmp_path}/images", f"out={tmp_path}/out", "maps=both"]) == 0
    assert len(rows(tmp_path / "out")) == 6
    assert len(list((tmp_path / "out" / "maps").rglob("*.png"))) == 6
    assert len(list((tmp_path / "out" / "maps").rglob("*.npy"))) == 6


def test_two_folders_of_one_name_have_places_of_their_own(trained: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("one/test/a.png", "two/test/a.png")):
        image(tmp_path / name, number)
    for images in ("one/test", "two/test/*.png", "one/test"):
        assert main(["score", f"run={trained}", f"images={tmp_path}/{images}", "maps=false"]) == 0
    one, two = (rows(trained / "scored" / name) for name in ("test", "test-2"))
    assert one["a.png"]["score"] != two["a.png"]["score"] and not (trained / "scored" / "test-3").exists()


def test_what_cannot_be_read_is_named_and_the_rest_scored(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(5):
        image(tmp_path / "images" / f"{number}.png", number)
    truncated = tmp_path / "images" / "3.png"
    truncated.write_bytes(truncated.read_bytes()[:2000])
    (tmp_path / "images" / "4.png").write_bytes(b"no image")
    (tmp_path / "images" / "._0.png").write_bytes(b"a file of the system")
    (tmp_path / "images" / "5.webp").write_bytes(b"unread")
    asked = "score", f"run={trained}", f"images={tmp_path}/images", f"out={tmp_path}/out", "batch_size=2"
    assert main([*asked]) == 1
    said = capsys.readouterr()
    assert (
        f"2 of 5 images not scored: {truncated} cannot be read as an image (" in said.err
        and "; for the others see " in said.err
        and "3 images scored" in said.out
    )
    assert "1 file ignored" in said.out and "5.webp" in said.out
    found = rows(tmp_path / "out")
    assert [row["status"].partition(":")[0] for row in found.values()] == ["scored"] * 3 + ["unreadable"] * 2
    assert not any(found[name]["score"] for name in ("3.png", "4.png")) and float(found["0.png"]["score"]) > 0


def test_a_single_image_that_cannot_be_read_is_the_whole_sentence(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    assert main(["score", f"run={trained}", f"images={tmp_path}/a.png", f"out={tmp_path}/out"]) == 1
    reason = f"{tmp_path}/a.png cannot be read as an image (the file is empty): replace or remove it"
    assert f"diffect score: {reason}\n" == capsys.readouterr().err


def test_strange_pictures_are_scored_with_a_note(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image(tmp_path / "images" / "usual.png")
    large = Image.open(tmp_path / "images" / "usual.png").resize((600, 300))
    large.resize((3, 3)).save(tmp_path / "images" / "tiny.png")
    large.resize((20, 500)).save(tmp_path / "images" / "narrow.png")
    large.convert("RGBA").save(tmp_path / "images" / "opaque.png")
    large.putalpha(100)
    large.save(tmp_path / "images" / "clear.png")
    Image.new("P", (600, 300)).save(tmp_path / "images" / "palette.png", transparency=0)
    assert main(["score", f"run={trained}", f"images={tmp_path}/images/*.png", "maps=false"]) == 0
    assert "note: 4 of 6 scores are doubtful, see scores.csv: clear.png: its transp" in capsys.readouterr().out
    notes = {name: row["note"] for name, row in rows(trained / "scored" / "images").items()}
    assert notes["usual.png"] == notes["opaque.png"] == ""
    assert notes["clear.png"] == notes["palette.png"] == "its transparency is ignored"
    assert notes["tiny.png"].startswith("it has 3 x 3 pixels only, enlarged ")
    assert notes["narrow.png"].startswith("its shape is unlike that of the training images: it fills ")


def test_nothing_of_the_users_is_removed_or_replaced(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "photos" / "maps"
    image(photos / "a.png")
    for out, stranger in ((tmp_path / "photos", "maps/a.png"), (photos, "a.png")):
        assert main(["score", f"run={trained}", f"images={photos}", f"out={out}"]) == 1
        assert f"out is {out}, which holds {stranger}, not written by diffect" in capsys.readouterr().err
    assert main(["score", f"run={trained}", f"images={photos}", f"out={photos}/scored"]) == 0
    before = (photos / "scored" / "scores.csv").read_text()
    assert main(["score", f"run={trained}", f"images={photos}", f"out={photos}/scored"]) == 0
    assert (photos / "scored" / "scores.csv").read_text() == before  # what was written is no input
    (photos / "scored" / "mine.txt").write_text("mine")
    assert main(["score", f"run={trained}", f"images={photos}", f"out={photos}/scored"]) == 1
    assert (photos / "scored" / "mine.txt").is_file() and (photos / "a.png").is_file()
    assert (photos / "scored" / "maps" / "a.png").is_file()  # nor is anything lost where a call is refused


def test_thresholds_of_ones_own(
    trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    asked = "score", f"run={trained}", f"out={tmp_path}", "maps=false"
    assert main([*asked]) == 0
    scored = sorted(float(row["score"]) for row in rows(tmp_path).values())
    middle = (scored[3] + scored[4]) / 2
    assert main([*asked, f"threshold={middle}"]) == 0
    assert [row["flagged"] for row in rows(tmp_path).values()].count("true") == len(scored) - 4
    assert "9 images scored, 5 flagged" in capsys.readouterr().out
    for setting, sentence in (
        ("threshold=high", "threshold is 'high'; it must be a number, or null for the one that the run promises"),
        ("rate=2", "rate is 2; it must be a number above 0 and below 1, or null for that of the run"),
        (
            "rate=0.01",
            "rate is 0.01, but of board 4 calibration images can promise a false-positive rate of 20% or more",
        ),
        ("maps=gif", "maps is 'gif'; it must be true, false, png, npy, mask, overlay"),
        ("mm_per_pixel=0.1", "mm_per_pixel is 0.1, but only explanations state sizes; set explain=true"),
    ):
        assert main([*asked, setting]) == 1
        assert sentence in capsys.readouterr().err
    assert main([*asked, "rate=0.5"]) == 0
    assert all(row["threshold"] for row in rows(tmp_path).values())


def test_data_that_moved_are_found(
    trained: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(picture, "draw", lambda explained: b"")  # which takes most of the time
    monkeypatch.chdir(folder)
    assert main(["score", f"run={trained}", f"out={tmp_path}/before", "maps=false"]) == 0
    monkeypatch.chdir(tmp_path)
    (folder / "data").rename(folder / "moved")
    try:
        asked = "score", f"run={trained}", f"data.root={folder}/moved", f"out={tmp_path}/after", "explain=true"
        assert main([*asked]) == 0
    finally:
        (folder / "moved").rename(folder / "data")
    assert rows(tmp_path / "after") == rows(tmp_path / "before")
    (told,) = (tmp_path / "after" / "explained").rglob("square.json")
    assert json.loads(told.read_text())["nearest_normal"]


@pytest.mark.parametrize("network", [name for name in NETWORKS if name != "conv"])
def test_every_network_learns_on_a_long_grid(
    network: str, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    settings = [f"denoiser.network.{key}" for key in NETWORKS[network]]
    assert main(["train", *SMALL, f"denoiser={network}", *settings, f"hydra.run.dir={tmp_path}/run"]) == 0
    record = json.loads((tmp_path / "run" / "record.json").read_text())
    assert all(0 <= record["results"]["board"]["metrics"][name] <= 1 for name in ("image_auroc", "pixel_auroc"))
