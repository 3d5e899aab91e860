"""diffect from Python: a finished run's detector takes images of any kind and size; training gives a detector."""

import csv
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import diffect
from diffect.cli.main import main
from diffect.detector.images import at_own_size

pytestmark = pytest.mark.slow

SMALL = [
    *("data=mvtec", "data.root=data", "data.size=32", "backbone.blocks=[4]", "denoiser=gaussian", "panel=0"),
    *("gallery=0", "evaluation.replicates=0", "evaluation.latency_repeats=1"),
]
HEIGHT, WIDTH = 60, 80


def tile(rng: np.random.Generator, spot: bool = False) -> np.ndarray:
    pixels = rng.integers(80, 140, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    if spot:
        pixels[20:40, 50:70] = 5
    return pixels


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two categories of grey tiles, 60 normal ones each, so that thresholds promise 10%."""
    root, rng = tmp_path_factory.mktemp("api"), np.random.default_rng(0)
    for category in ("dark", "light"):
        names = [f"train/good/{i:02d}" for i in range(60)] + ["test/good/0", "test/spot/0", "test/spot/1"]
        for name in names:
            path = root / "data" / category / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(tile(rng, "spot" in name) + (100 if category == "light" else 0)).save(path)
    return root


@pytest.fixture(scope="module")
def run(folder: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        given = [
            *SMALL,
            "data.category=dark",
            "data.calibration=0.4",
            "evaluation.conformal_rate=0.1",
            "data.groups=none",
        ]
        assert main(["train", *given, f"hydra.run.dir={folder / 'run'}"]) == 0
    return folder / "run"


@pytest.fixture(scope="module")
def detector(run: Path) -> diffect.Detector:
    return diffect.load(run)


@pytest.fixture(scope="module")
def spotted(folder: Path) -> Path:
    return folder / "data" / "dark" / "test" / "spot" / "0.png"


def test_the_kinds_of_one_image_are_one_image(detector: diffect.Detector, spotted: Path, run: Path) -> None:
    picture = Image.open(spotted)
    pixels = np.asarray(picture)
    found = [detector(image) for image in (spotted, str(spotted), picture, pixels, pixels / 255.0)]
    with (run / "scores.csv").open() as file:
        own = {row["name"]: float(row["score"]) for row in csv.DictReader(file)}
    for one in found:
        assert one.score == pytest.approx(own["test/spot/0.png"], rel=1e-5) and one.category == "dark"
        assert one.flagged and one.score > one.threshold
        assert one.p_value == pytest.approx(1 / (1 + len(detector.calibrations[0].scores)))
        assert one.map.shape == (HEIGHT, WIDTH) and one.map.dtype == np.float32
        row, column = np.unravel_index(one.map.argmax(), one.map.shape)
        assert 10 <= row < 50 and column >= 40  # on a grid of 4 x 4 cells
    grey = detector(pixels[..., 0])
    assert grey.map.shape == (HEIGHT, WIDTH) and grey.flagged
    deep = (pixels[..., 0].astype(np.uint16) * 257).astype(np.uint16)
    assert detector(deep).score == pytest.approx(grey.score, rel=1e-5)


def test_a_list_is_scored_one_by_one_at_any_size(detector: diffect.Detector, spotted: Path) -> None:
    picture = Image.open(spotted)
    large = picture.resize((3 * WIDTH, 3 * HEIGHT))
    upright = np.asarray(picture.crop((0, 0, 30, HEIGHT)))
    found = detector([spotted, large, upright], batch_size=2)
    assert [one.name for one in found] == ["0.png", "1", "2"]
    assert [one.map.shape for one in found] == [(HEIGHT, WIDTH), (3 * HEIGHT, 3 * WIDTH), (HEIGHT, 30)]
    for one, image in zip(found, (spotted, large, upright), strict=True):
        assert detector(image).score == pytest.approx(one.score, rel=1e-5)
    assert found[1].score == pytest.approx(found[0].score, rel=0.2)


def test_a_folder_is_a_list_of_its_images(detector: diffect.Detector, folder: Path) -> None:
    found = detector(folder / "data" / "dark" / "test")
    assert [one.name for one in found] == ["good/0.png", "spot/0.png", "spot/1.png"]
    assert [one.flagged for one in found] == [False, True, True]
    assert found[0].p_value > 0.1 >= found[1].p_value


def test_of_a_folder_the_readable_images_are_scored(detector: diffect.Detector, spotted: Path, tmp_path: Path) -> None:
    shutil.copy(spotted, tmp_path / "whole.png")
    (tmp_path / "broken.png").write_bytes(spotted.read_bytes()[:300])
    with pytest.warns(UserWarning, match=r"1 of 2 images not scored: .*broken\.png cannot be read as an image"):
        assert [one.name for one in detector(tmp_path)] == ["whole.png"]
    (tmp_path / "whole.png").unlink()
    for images in (tmp_path, tmp_path / "broken.png", [spotted, tmp_path / "broken.png"]):
        with pytest.raises(ValueError, match=r"broken\.png cannot be read as an image"):
            detector(images)


@pytest.mark.parametrize(
    ("image", "said"),
    [
        (np.zeros((4, 5, 2), np.uint8), r"an array has shape \(4, 5, 2\); it must be \(H, W\) or \(H, W, 3\)"),
        (np.zeros(7, np.float32), r"an array has shape \(7,\); it must be"),
        (np.full((8, 8), 255.0), r"an array holds float64 from 255 to 255; floating-point pixels must lie in \[0, 1\]"),
        (np.full((8, 8), np.nan), r"an array has pixels that are NaN or infinite; replace them by numbers"),
        (Image.fromarray(np.full((8, 8), np.nan, np.float32)), r"the image has pixels that are NaN or infinite"),
        (Image.fromarray(np.zeros((8, 8), np.float32)), r"floating-point pixels; save it with 8 or 16 bits, or train "),
        (np.zeros((8, 8), np.int64), r"an array holds int64; it must hold uint8, uint16 or floating-point numbers"),
        ([], r"images is an empty list; give a file, a folder, a PIL image, an array, or a list of these"),
        (5, r"images is of type int; give a file"),
        ([5], r"an image is of type int; it must be a file, a PIL image or an array"),
        ("nowhere.png", r"images is nowhere\.png: nowhere\.png does not exist"),
    ],
)
def test_what_is_no_image_is_refused_with_a_sentence(detector: diffect.Detector, image: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        detector(image)


def test_a_category_that_is_not_known_is_refused(detector: diffect.Detector, spotted: Path) -> None:
    assert detector(spotted, category="dark").score == detector(spotted, category="none").score
    with pytest.raises(ValueError, match="category is bolt, which the run was not trained on; give one of dark"):
        detector(spotted, category="bolt")


def test_a_map_at_its_own_size_leaves_padding_out() -> None:
    canvas = np.zeros((4, 8), np.float32)
    canvas[:, 2:6] = np.arange(4, dtype=np.float32)
    box = (0, 2, 4, 4)
    assert np.array_equal(at_own_size(canvas, box, (4, 4)), canvas[:, 2:6])
    wide = at_own_size(canvas, box, (8, 8))
    assert wide.shape == (8, 8) and wide[0] == pytest.approx([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])
    series = at_own_size(np.arange(4, dtype=np.float32), (0, 4), (8,))
    assert series == pytest.approx([0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3])


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path, run: Path) -> None:
    for absent in (None, 5, tmp_path / "absent"):
        with pytest.raises(ValueError, match=f"run is {absent}, which is not a folder; it must be "):
            diffect.load(absent)
    with pytest.raises(ValueError, match=r"which has no record\.json; it must be the folder of a finished run"):
        diffect.load(tmp_path)
    with pytest.raises(ValueError, match=rf"which has no record\.json; .*, such as {run.parent}"):
        diffect.load(run.parent)
    (tmp_path / "record.json").write_bytes((run / "record.json").read_bytes())
    with pytest.raises(ValueError, match=r"there is no .*checkpoint\.pt; to train the run again, delete the folder"):
        diffect.load(tmp_path)
    kept = torch.load(run / "checkpoint.pt", weights_only=True)
    del kept["state"]["anomaly_map.scale"]
    torch.save(kept, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"does not fit the config in record\.json: Missing key.*anomaly_map\.scale"):
        diffect.load(tmp_path)
    torch.save(kept | {"representation": "other weights"}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"the backbone of the run in .* was other weights and is now .*: put the old"):
        diffect.load(tmp_path)
    torch.save(kept | {"signature": "0123456789ab"}, tmp_path / "checkpoint.pt")
    with pytest.raises(ValueError, match=r"belongs to run 0123456789ab, the record beside it to run"):
        diffect.load(tmp_path)


def test_training_gives_the_detector_of_the_run_and_finds_it_again(
    folder: Path, spotted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    trained = diffect.train([*SMALL, "data.category=dark", "seed=7"])
    (record,) = folder.glob("outputs/single/*/record.json")
    written = record.stat().st_mtime_ns
    again = diffect.train([*SMALL, "data.category=dark", "seed=7"])
    assert record.stat().st_mtime_ns == written
    assert trained(spotted).score == again(spotted).score == diffect.load(record.parent)(spotted).score


def test_training_checks_as_the_command_does_and_refuses_a_sweep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with pytest.raises(Exception, match="denoiser"):
        diffect.train([*SMALL, "denoiser=nothing_like_this"])
    for overrides in ("seed=0", None, [5]):
        with pytest.raises(ValueError, match=r"overrides is .*; it must be a list, such as \['data\.category=brick'"):
            diffect.train(overrides)
    for sweep in (["-m", "seed=0,1"], ["seed=0,1"], ["experiment=demo"]):
        with pytest.raises(ValueError, match=r"diffect\.train trains a single run; start a sweep with `diffect train`"):
            diffect.train(sweep)


def test_importing_diffect_does_not_import_torch() -> None:
    code = "import sys, diffect; diffect.__version__; dir(diffect); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
    assert set(dir(diffect)) >= {"Detector", "ImageResult", "Prediction", "Predictor", "load", "schedules", "train"}
    assert diffect.schedules.Cosine().log_snr(torch.tensor(0.5)).isfinite()
    with pytest.raises(AttributeError, match="module 'diffect' has no attribute 'lode'"):
        diffect.lode  # noqa: B018
