"""Sources without any file, of one-dimensional windows and of volumes, go through the command line as images do."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from diffect.cli.main import main
from diffect.data.datamodule import DataModule
from diffect.data.sample import Kind, Sample, Source
from diffect.runs.record import Record
from diffect.runs.record_file import read

LENGTH = 64
YAML = """\
_target_: diffect.data.datamodule.DataModule
source:
  _target_: data.test_series_source.Windows
category: all
seed: ${seed}
"""


class Windows(Source):
    """Windows of two channels: noisy sine waves of one frequency, some of them with a step in the second half."""

    @property
    def kind(self) -> Kind:
        return Kind("series", channels=2, rank=1, dtype="float32")

    def categories(self) -> list[str]:
        return ["pump"]

    def samples(self, category: str) -> list[Sample]:
        train = [self._sample("train", "good", number) for number in range(48)]
        good = [self._sample("test", "good", number) for number in range(10)]
        return train + good + [self._sample("test", "step", number) for number in range(10)]

    @staticmethod
    def _sample(split: str, defect: str, number: int) -> Sample:
        mask = np.zeros(LENGTH, bool)
        mask[40:48] = defect != "good"

        def load() -> NDArray[np.float32]:
            rng = np.random.default_rng([("train", "test").index(split), defect == "good", number])
            time = np.arange(LENGTH)[:, None] / LENGTH + rng.random() / 20
            wave = np.sin(2 * np.pi * (3 * time + np.array([0, 0.25]))) + rng.normal(0, 0.1, (LENGTH, 2))
            return (wave + mask[:, None] * 1.5).astype(np.float32)

        name = f"{split}/{defect}/{number:03d}"
        return Sample(
            "pump",
            split,
            name,
            defect,
            load,
            None if defect == "good" else lambda: mask,
            group=f"{split} hour {number // 4}",
        )


class Volumes(Windows):
    """Volumes of one channel (6, 7, 8): noise, brighter in a corner where they are defective."""

    @property
    def kind(self) -> Kind:
        return Kind("volume", channels=1, rank=3, dtype="float32")

    @staticmethod
    def _sample(split: str, defect: str, number: int) -> Sample:
        mask = np.zeros((6, 7, 8), bool)
        mask[:3, :3, :3] = defect != "good"

        def load() -> NDArray[np.float32]:
            rng = np.random.default_rng([("train", "test").index(split), defect == "good", number])
            return (rng.normal(0, 1, mask.shape) + 3 * mask)[..., None].astype(np.float32)

        return Sample("pump", split, f"{split}/{defect}/{number}", defect, load, lambda: mask)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the source's YAML, and two finished runs on it in outputs/series."""
    folder = tmp_path_factory.mktemp("series")
    (folder / "conf" / "data").mkdir(parents=True)
    (folder / "conf" / "data" / "windows.yaml").write_text(YAML)
    common = [
        f"hydra.searchpath=[file://{folder}/conf]",
        "data=windows",
        "study=series",
        "representation=pixels",
        "scorer=denoising_noisy",
        "anomaly_map.border=2",
        "evaluation.replicates=20",
        "evaluation.latency_repeats=1",
        "tracking.mode=offline",
    ]
    learned = ["denoiser=conv", "denoiser.network.width=16", "denoiser.network.depth=2", "training.steps=60"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["train", *common, "denoiser=gaussian", "evaluation.folds=2"]) == 0
        assert main(["train", *common, *learned, "training.validate_every=30", "training.warmup=5"]) == 0
    return folder


def runs(study: Path) -> dict[str, tuple[Path, Record]]:
    found = [(path.parent, read(path)) for path in (study / "outputs/series").glob("*/record.json")]
    return {record.choices["denoiser"]: (folder, record) for folder, record in found}


@pytest.mark.slow
@pytest.mark.parametrize("denoiser", ["gaussian", "conv"])
def test_series_are_trained_and_scored(study: Path, denoiser: str) -> None:
    folder, record = runs(study)[denoiser]
    assert record.status == "finished"
    assert record.splits.canvas == (LENGTH,) and record.splits.kind.name == "series"
    counts = record.splits.categories["pump"]
    assert counts.train == 48 and counts.groups == 15 and counts.defects == {"good": 10, "step": 10}
    assert record.description["source"].startswith("Windows of two channels")
    rows = list(csv.DictReader((folder / "scores.csv").open()))
    scores = {row["name"]: float(row["score"]) for row in rows}
    defective = [score for name, score in scores.items() if "/step/" in name]
    good = [score for name, score in scores.items() if "/good/" in name]
    assert len(defective) == len(good) == 10 and np.median(defective) > max(good)
    assert not (folder / "panel.png").exists() and not record.gallery


@pytest.mark.slow
@pytest.mark.parametrize("denoiser", ["gaussian", "conv"])
def test_a_finished_run_scores_its_test_samples_to_the_same_numbers(
    study: Path, denoiser: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, _ = runs(study)[denoiser]
    assert main(["score", f"run={folder}"]) == 0
    assert "samples of kind series cannot be drawn" in capsys.readouterr().out
    again = {row["name"]: float(row["score"]) for row in csv.DictReader((folder / "scored/test/scores.csv").open())}
    first = {f"pump/{row['name']}": float(row["score"]) for row in csv.DictReader((folder / "scores.csv").open())}
    assert again.keys() == first.keys()
    assert all(again[name] == pytest.approx(first[name], rel=1e-5) for name in first)


@pytest.mark.slow
def test_a_report_shows_the_runs(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(study)
    assert main(["report", "experiment=series"]) == 0
    table = (study / "experiments/series/table.md").read_text()
    assert "gaussian" in table and "conv" in table


@pytest.mark.slow
def test_what_needs_images_is_refused_in_a_sentence(
    study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(study)
    common = [f"hydra.searchpath=[file://{study}/conf]", "data=windows", "representation=pixels", "denoiser=gaussian"]
    for override, said in (
        ("data.contamination=0.2", "data.contamination_from=null works on images only"),
        ("head=synthetic", "head=synthetic draws defects on images"),
        ("denoiser=dit", "two axes"),
    ):
        assert main(["train", *common, override]) == 1
        error = capsys.readouterr().err
        assert said in error and len(error.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("denoiser", ["gaussian", "conv"])
def test_volumes_go_the_same_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, denoiser: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf" / "data" / "volumes.yaml").write_text(YAML.replace("Windows", "Volumes"))
    monkeypatch.chdir(tmp_path)
    overrides = [
        f"hydra.searchpath=[file://{tmp_path}/conf]",
        "data=volumes",
        "representation=pixels",
        f"denoiser={denoiser}",
        "anomaly_map.border=1",
        "anomaly_map.blur=0.1",
        "evaluation.replicates=5",
        "evaluation.latency_repeats=1",
        "hydra.run.dir=run",
    ]
    small = ["denoiser.network.width=8", "denoiser.network.depth=1", "training.steps=4", "training.validate_every=2"]
    assert main(["train", *overrides, *(small if denoiser == "conv" else [])]) == 0
    record = read(tmp_path / "run/record.json")
    assert record.splits.canvas == (6, 7, 8)
    assert record.results["pump"].metrics["pixel_auroc"] > 0.8
    assert main(["score", "run=run", "maps=npy"]) == 0
    (saved,) = {np.load(path).shape for path in (tmp_path / "run/scored/test/maps").rglob("*.npy")}
    assert saved == (6, 7, 8)


def windows(change: Callable[[NDArray[np.float32]], NDArray]) -> Source:
    """The source with every array changed."""

    class Changed(Windows):
        def samples(self, category: str) -> list[Sample]:
            return [
                Sample(category, one.split, one.name, one.defect, lambda one=one: change(one.load()))
                for one in super().samples(category)
            ]

    return Changed()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda array: array.astype(np.float64),
            r"loads as float64 \(64, 2\); its source says float32",
        ),
        (lambda array: array[:, :1], r"loads as float32 \(64, 1\).* 2 channels"),
        (lambda array: array * np.float32(np.nan), r"holds NaN or infinite values"),
        (
            lambda array: array[: 60 + int(array[0, 0] > 0)],
            r"the sizes \(6\d,\) and \(6\d,\); all samples",
        ),
    ],
)
def test_arrays_that_are_not_what_the_source_says_are_refused(
    change: Callable[[NDArray[np.float32]], NDArray], said: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=said):
        DataModule(windows(change), cache=str(tmp_path)).setup()


def test_the_fingerprint_is_of_the_arrays() -> None:
    same, changed = Windows().fingerprint("pump"), windows(lambda array: array + 1).fingerprint("pump")
    assert Windows().fingerprint("pump") == same != changed


def test_a_source_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"data\.source is a str; it must inherit diffect\.data\.sample\.Source"):
        DataModule("windows", cache=str(tmp_path))
