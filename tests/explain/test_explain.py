"""Explanations by the command: nearest patches that are where they are said to be, shares that add up to the score.

An explanation is the same whatever else is scored with it, and the same bytes every time; what is missing is said.
"""

import io
import json
import shutil
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from diffect.cli.main import main
from diffect.explain import picture
from diffect.runs import record_file
from diffect.runs.record import OutlierRemoval
from diffect.storage import checkpoints

pytestmark = pytest.mark.slow

SMALL = (
    *("data=mvtec", "data.root=data", "data.size=64", "tracking.mode=offline", "seed=3"),
    *("evaluation.replicates=5", "evaluation.latency_repeats=1", "panel=0", "gallery=0"),
)
KINDS = {
    "features": ("evaluation.folds=2",),
    "learned": (
        *("representation=pixels", "denoiser=conv", "denoiser.network.width=8", "denoiser.network.depth=1"),
        *("scorer=reconstruction", "scorer.steps=2", "data.size=32", "data.batch_size=4"),
        *("training.steps=2", "training.validate_every=1", "training.warmup=1"),
    ),
    "copies": (
        *("detector=padim", "data.category=dark", "data.shots=6", "data.augment=[shift]", "data.augment_copies=3"),
        *("backbone.blocks=[4]", "evaluation.folds=2"),
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two categories of tiles, 90 x 120: 23 normal ones each, two with a dark spot."""
    root, rng = tmp_path_factory.mktemp("tiles"), np.random.default_rng(0)
    for category, grey in (("dark", 90), ("light", 180)):
        for name in (*(f"train/good/{i:02d}" for i in range(23)), "test/good/0", "test/spot/0", "test/spot/1"):
            tile = rng.integers(grey - 20, grey + 20, (90, 120, 3), dtype=np.uint8)
            if "spot" in name:
                tile[30:50, 60:90] = 5
            path = root / "data" / category / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(tile).save(path)
    return root


def train(folder: Path, kind: str) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", *SMALL, *KINDS[kind], f"hydra.run.dir={folder / kind}"]) == 0
    return folder / kind


@pytest.fixture(scope="module")
def trained(folder: Path) -> Path:
    return train(folder, "features")


@pytest.fixture(scope="module")
def learned(folder: Path) -> Path:
    return train(folder, "learned")


@pytest.fixture(scope="module")
def copies(folder: Path) -> Path:
    return train(folder, "copies")


@pytest.fixture(scope="module")
def deciding(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run with thresholds, as of more calibration images, which its own test shows broken for dark ones."""
    run = tmp_path_factory.mktemp("deciding") / "run"
    shutil.copytree(trained, run)
    kept = checkpoints.read(run / "checkpoint.pt", "")
    found = [{"scores": [score] * 20, "peaks": [peak] * 20, "rate": 0.05} for score, peak in ((2.0, 1e6), (1e6, 2.0))]
    checkpoints.write(run / "checkpoint.pt", kept | {"calibrations": found})
    record = record_file.read(run / record_file.RECORD)
    record.results["dark"].intervals["conformal_fpr"] = (0.2, 0.6)
    record_file.write(run, record)
    return run


def explain(run: Path, folder: Path, out: Path, *settings: str, drawn: bool = False) -> dict[str, Any]:
    """What is told of each image, by name. Pictures take most of the time: without `drawn` they are empty files."""
    with pytest.MonkeyPatch.context() as patch:
        if not drawn:
            patch.setattr(picture, "draw", lambda explained: b"")
        patch.chdir(folder)
        assert main(["score", f"run={run}", f"out={out}", "explain=true", "maps=false", *settings]) == 0
    found = {path: json.loads(path.read_text()) for path in sorted((out / "explained").rglob("*.json"))}
    assert all(path.with_suffix(".png").is_file() for path in found)
    return {told["name"]: told for told in found.values()}


@pytest.fixture(scope="module")
def decided(deciding: Path, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """The explanations of all test images by that run, and what was printed."""
    with redirect_stdout(io.StringIO()) as printed:
        told = explain(deciding, folder, tmp_path_factory.mktemp("decided"))
    return told, printed.getvalue()


@pytest.mark.parametrize("kind", ["features", "learned"])
def test_every_image_is_explained_and_its_shares_add_up(
    kind: str, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    trained = request.getfixturevalue("trained" if kind == "features" else kind)
    spots = folder / "data" / "light" / "test" / "spot"
    told = explain(trained, folder, tmp_path, f"images={spots}", "category=light", "mm_per_pixel=0.5", drawn=True)
    assert list(told) == ["0.png", "1.png"]
    for one in told.values():
        for parts in (one["contributions"]["by_scale"], one["contributions"]["by_noise_level"]):
            assert sum(parts.values()) == pytest.approx(one["score"], rel=1e-4)
        listed = [part["value"] for part in one["contributions"]["by_component"]]
        assert sum(listed) == pytest.approx(one["score"], rel=1e-4)
        box, region = one["region"]["box_px"], one["region"]
        assert region["area_px"] <= box["width"] * box["height"] and region["area_mm2"] == pytest.approx(
            region["area_px"] / 4
        )
        assert box["left"] + box["width"] <= 120 and box["top"] + box["height"] <= 90
        names = [near["image"] for near in one["nearest_normal"]]
        assert len(set(names)) == 3 and all(name.startswith("light/train/good/") for name in names)
        known = [near["distance"] for near in one["nearest_normal"]]
        assert known == sorted(known) and known[0] <= one["normal_at_this_place"]["distance"]
        assert 0 < one["usual_distance_at_this_place"] < one["normal_at_this_place"]["distance"] * 2
        assert one["reconstruction"] == (trained.name == "learned")
    if trained.name == "features":  # where the spot is
        left, top = told["0.png"]["map"]["peak_px"]
        assert 50 < left < 100 and 20 < top < 60
        assert len(told["0.png"]["contributions"]["by_scale"]) > 1
        assert list(told["0.png"]["contributions"]["by_noise_level"]) == ["log-SNR -1", "log-SNR 3"]


def test_an_explanation_depends_on_its_image_alone(trained: Path, folder: Path, tmp_path: Path) -> None:
    spots = folder / "data" / "light" / "test" / "spot"
    whole = explain(trained, folder, tmp_path / "all", f"images={spots}", "category=light")
    one = f"images={spots / '1.png'}", "category=light"
    alone = explain(trained, folder, tmp_path / "one", *one, drawn=True)["1.png"]
    explain(trained, folder, tmp_path / "again", *one, drawn=True)
    for path in (tmp_path / "one" / "explained").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / "explained" / path.name).read_bytes()
    assert alone["region"]["box_px"] == whole["1.png"]["region"]["box_px"]
    assert alone["score"] == pytest.approx(whole["1.png"]["score"], rel=1e-5)
    images = [[near["image"] for near in one["nearest_normal"]] for one in (alone, whole["1.png"])]
    assert images[0] == images[1]


@pytest.mark.parametrize("kind", ["features", "learned"])
def test_of_the_images_that_were_fitted_the_nearest_is_the_image_itself(
    kind: str, folder: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    trained = request.getfixturevalue("trained" if kind == "features" else kind)
    normal = tmp_path / "normal"
    normal.mkdir()
    for number in range(3):
        shutil.copy(folder / "data" / "dark" / "train" / "good" / f"{number:02d}.png", normal)
    told = explain(trained, folder, tmp_path / "out", f"images={normal}", "category=dark").values()
    fitted = [one for one in told if one["nearest_normal"][0]["image"].endswith(one["name"])]
    assert fitted  # of 3, all but those of selection
    for one in fitted:
        for near in (one["nearest_normal"][0], one["normal_at_this_place"]):
            assert near["distance"] == pytest.approx(0, abs=5e-3) and near["image"] == f"dark/train/good/{one['name']}"
        left, top = one["map"]["peak_px"]
        box = one["nearest_normal"][0]["box_px"]
        assert box["left"] <= left <= box["left"] + box["width"] and box["top"] <= top <= box["top"] + box["height"]


def test_what_outlier_removal_left_out_is_no_normal_patch(trained: Path, folder: Path, tmp_path: Path) -> None:
    images, run = tmp_path / "images", tmp_path / "run"
    images.mkdir()
    shutil.copy(folder / "data" / "dark" / "test" / "spot" / "0.png", images)
    asked = f"images={images}", "category=dark"
    (before,) = explain(trained, folder, tmp_path / "before", *asked).values()
    shutil.copytree(trained, run)
    record, nearest = record_file.read(run / record_file.RECORD), before["nearest_normal"][0]["image"]
    dropped = {"dark": [{"name": nearest.removeprefix("dark/"), "defect": "good", "split": "fit", "z": 4.0}]}
    record.outlier_removal = OutlierRemoval(scored=40, dropped=dropped)
    record_file.write(run, record)
    (after,) = explain(run, folder, tmp_path / "after", *asked).values()
    assert after["normal_images_searched"] == before["normal_images_searched"] - 1
    assert nearest not in [one["image"] for one in after["nearest_normal"]]


def test_copies_made_for_training_are_no_normal_images(copies: Path, folder: Path, tmp_path: Path) -> None:
    told = explain(copies, folder, tmp_path, "category=none")  # which it knows, for it holds one
    record = record_file.read(copies / record_file.RECORD)
    fitted = record.splits.categories["dark"].fit
    assert len(told) == 3 and all(one["category"] == "dark" for one in told.values())
    for one in told.values():
        assert one["normal_images_searched"] == fitted <= 6
        assert len({near["image"] for near in one["nearest_normal"]}) == len(one["nearest_normal"])
        said = " ".join(one["sentences"])
        assert (
            "a single component" in said and "not made of distances to patches" in said and "deviations of x0" in said
        )


def test_a_broken_promise_and_two_promises_that_differ_are_named(decided: tuple[dict[str, Any], str]) -> None:
    told, out = decided
    assert "6 images scored, 2 flagged: " in out and "no decision" not in out
    warned = "the promised false-positive rate of 0.05 was not kept in the run's test, where it was between 0.2 and"
    assert f"warning: dark: {warned}" in out and "warning: light" not in out
    dark, light = (told[f"{name}/test/spot/0.png"] for name in ("dark", "light"))
    assert dark["flagged"] and not dark["region"]["outlined"]
    assert warned in dark["notes"][0] and "is flagged by its score, though none is outlined" in dark["notes"][1]
    assert not light["flagged"] and light["region"]["outlined"]
    assert len(light["notes"]) == 1 and "passes by its score, though a region is outlined" in light["notes"][0]
    assert "as promised for parts like the held-out ones" in light["sentences"][0]


def test_without_a_category_an_image_is_scored_and_decided_as_what_it_is_taken_for(
    deciding: Path, decided: tuple[dict[str, Any], str], folder: Path, tmp_path: Path
) -> None:
    told, _ = decided
    unlabelled = explain(deciding, folder, tmp_path, "category=none")
    assert len(unlabelled) == 6
    for name, one in unlabelled.items():
        note = one["notes"][0]
        assert note.startswith(f"no category was given, and it is taken for {one['category']}")
        assert one["normal_images_searched"] < 23
        assert ("a part that training never saw" in note) == bool(one["flagged"])
        if one["category"] == told[name]["category"]:
            same = ("threshold", "flagged", "score")
            assert [one[key] for key in same] == [told[name][key] for key in same]
            assert one["notes"][1:] == told[name]["notes"]
    right = [one for name, one in unlabelled.items() if one["category"] == told[name]["category"]]
    assert len(right) > 3 and any(one["flagged"] for one in right)


def test_without_the_training_images_all_else_is_explained(
    trained: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    Image.open(folder / "data" / "dark" / "test" / "spot" / "0.png").save(images / "0.png")
    (folder / "data").rename(folder / "gone")
    try:
        (one,) = explain(trained, folder, tmp_path / "out", f"images={images}", "category=dark").values()
    finally:
        (folder / "gone").rename(folder / "data")
    assert one["nearest_normal"] is None and one["region"]["area_px"] > 0
    assert any("no nearest normal patches: data.root" in note for note in one["notes"])
    assert "no nearest normal patches: data.root" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        (
            "category=bolt",
            "category is bolt, which the run was not trained on; give one of dark, light, or category=",
        ),
        ("mm_per_pixel=-2", "mm_per_pixel is -2; it must be a positive number of millimetres per pixel"),
        ("batch_size=0", "batch_size is 0; it must be a whole number, 1 or more"),
        ("batch_size=abc", "batch_size is 'abc'; it must be a whole number, 1 or more"),
        ("explain=maybe", "explain is 'maybe'; it must be true or false"),
        (
            "maps=3",
            "maps is 3; it must be true, false, png, npy, mask, overlay, both (png and npy), or a list of these",
        ),
    ],
)
def test_bad_settings_are_refused_with_a_sentence(
    setting: str, sentence: str, trained: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["score", f"run={trained}", "explain=true", setting]) != 0
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said


def test_several_categories_ask_which(trained: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["score", f"run={trained}", f"images={folder / 'data' / 'dark' / 'test'}"]) != 0
    assert "category is not set, and this run has several: dark, light" in capsys.readouterr().err


def test_of_the_test_images_of_a_run_those_of_the_named_category_are_scored(
    trained: Path, folder: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["score", f"run={trained}", f"out={tmp_path}", "category=light", "maps=false"]) == 0
    lines = (tmp_path / "scores.csv").read_text().splitlines()
    assert len(lines) == 4 and all(line.startswith("light/test/") for line in lines[1:])
    assert not (tmp_path / "explained").exists()
