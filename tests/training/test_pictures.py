"""The gallery of a run shows its worst and its clearest images, small, cut to the true image, on one colour scale."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from diffect.cli.main import main
from diffect.runs.record import ImageScore
from diffect.training import pictures
from diffect.training.colours import ColourScale

pytestmark = pytest.mark.slow

SMALL = (
    *("data.size=64", "data.category=brick", "denoiser=gaussian", "scorer=density"),
    *("evaluation.replicates=5", "evaluation.latency_repeats=1", "evaluation.folds=2", "panel=0", "gallery=2"),
)


def shown(score: float, name: str, anomalous: bool) -> ImageScore:
    return ImageScore(name=name, defect="scratch" if anomalous else "good", anomalous=anomalous, score=score)


def test_the_worst_come_first_then_half_as_many_clear_hits_each_once() -> None:
    defective = [shown(score, f"d{score}", True) for score in (5.0, 1.0, 4.0, 2.0, 3.0)]
    good = [shown(score, f"g{score}", False) for score in (0.5, 2.5, 1.5)]
    names = [one.name for one in pictures.choose([*defective, *good], 3)]
    assert names == ["d1.0", "d2.0", "d3.0", "g2.5", "g1.5", "g0.5", "d5.0", "d4.0"]
    assert [one.name for one in pictures.choose(defective[:2], 2)] == ["d1.0", "d5.0"]
    assert pictures.choose([*defective, *good], 0) == []


def test_colours_are_black_below_and_middle_at_the_threshold_with_room_above() -> None:
    maps = np.array([[[-1.0, 1.0, 3.0, 100.0]]], dtype=np.float32)
    scale = ColourScale(low=1.0, middle=3.0)
    black, low, middle, high = scale.colours(maps)[0, 0].astype(int)
    assert (black == low).all() and low.sum() < 10
    assert low.sum() < middle.sum() < high.sum() < scale.colours(10 * maps)[0, 0, -1].astype(int).sum()


@pytest.mark.parametrize(("threshold", "kinds"), [(2.0, ["miss", "false alarm"]), (0.5, ["hit", "false alarm"])])
def test_kinds_are_decisions_by_the_threshold(threshold: float, kinds: list[str]) -> None:
    pair = shown(1.0, "d", True), shown(3.0, "g", False)
    assert [pictures.outcome(one, threshold, pair) for one in pair] == kinds


def test_without_a_threshold_the_other_class_decides() -> None:
    pair = shown(1.0, "d", True), shown(3.0, "g", False)
    assert [pictures.outcome(one, None, pair) for one in pair] == ["miss", "false alarm"]
    pair = shown(4.0, "d", True), shown(3.0, "g", False)
    assert [pictures.outcome(one, None, pair) for one in pair] == ["hit", "pass"]


def test_pictures_are_cut_to_the_true_image_and_small(tmp_path: Path) -> None:
    (tmp_path / "gallery").mkdir()
    mask = np.zeros((400, 600), bool)
    mask[150:250, 200:400] = True
    arrays = {"image": np.full((3, 400, 600), 90, np.uint8), "mask": mask, "has_mask": np.True_}
    arrays |= {"box": np.array([100, 0, 200, 600]), "map": np.zeros((400, 600, 3), np.uint8)}
    names = pictures._write(arrays, tmp_path, "gallery/0007")
    assert names == {key: f"gallery/0007_{key}.{'png' if key == 'mask' else 'jpg'}" for key in ("image", "map", "mask")}
    drawn = {key: Image.open(tmp_path / str(path)) for key, path in names.items()}
    assert {picture.size for picture in drawn.values()} == {(256, 85)}
    line = np.asarray(drawn["mask"].convert("RGBA"))[..., 3] > 0
    assert line[:, 128].sum() == 4 and not line[42, 128]  # above and below the defect, not on it
    assert pictures._write({**arrays, "has_mask": np.False_}, tmp_path, "gallery/1")["mask"] is None


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("gallery") / "run"
    assert main(["train", *SMALL, f"hydra.run.dir={run}"]) == 0
    return run


def test_a_run_lists_its_pictures_in_its_record(folder: Path) -> None:
    record = json.loads((folder / "record.json").read_text())
    entries = record["gallery"]["brick"]
    files = sorted(path.relative_to(folder).as_posix() for path in (folder / "gallery").glob("*_*"))
    assert files == sorted(entry[key] for entry in entries for key in ("image", "map", "mask") if entry[key])
    assert [entry["anomalous"] for entry in entries] == [True, True, False, False, True]
    scores = {row["name"]: row["score"] for row in record["results"]["brick"]["scores"]}
    assert all(scores[entry["name"]] == entry["score"] for entry in entries)
    defective = sorted(row["score"] for row in record["results"]["brick"]["scores"] if row["anomalous"])
    assert [entry["score"] for entry in entries if entry["anomalous"]] == [*defective[:2], defective[-1]]


def test_how_many_are_shown_is_no_part_of_a_run(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *SMALL[:-1], "gallery=0", f"hydra.run.dir={folder}"]) == 0
    assert "was finished already" in capsys.readouterr().out
