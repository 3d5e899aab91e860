"""The real command line, as a user drives it: a run's record, its identity, resuming, sweeps, failures, scoring."""

import csv
import errno
import io
import json
import pickle
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from configs import composed
from omegaconf import OmegaConf
from records import make, record_of

from diffect.cli.main import main
from diffect.cli.train import check, show
from diffect.metrics.evaluation import METRICS
from diffect.runs import record_file, sources
from diffect.runs.record import GAINS

pytestmark = pytest.mark.slow

SMALL = (
    "data.size=64",
    "data.category=brick",
    "data.batch_size=8",
    "denoiser=conv",
    "denoiser.network.width=32",
    "denoiser.network.depth=1",
    "training.steps=8",
    "training.validate_every=4",
    "training.warmup=2",
    "evaluation.replicates=20",
    "evaluation.latency_repeats=1",
    "panel=3",
)


# Of the textures few to test on, and enough to train on that a threshold can be promised.
FEW = ("data.source.train=96", "data.source.good=6", "data.source.defective=2")


def train(*overrides: str) -> int:
    return main(["train", *SMALL, *FEW, *overrides])


def only(folder: Path) -> Path:
    (found,) = (path.parent for path in folder.glob("*/*/record.json"))
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of one small finished run."""
    place = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        assert train() == 0
    return only(place / "outputs")


def test_folder_holds_what_a_reader_needs_and_nothing_lies_beside(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert names == {"record.json", "scores.csv", "panel.png", "gallery", "checkpoint.pt", "wandb"}
    assert finished.parent.name == "single"
    assert {path.name for path in finished.parents[2].iterdir()} == {"outputs"}


def test_record_is_whole(finished: Path) -> None:
    record = json.loads((finished / "record.json").read_text())
    assert record["status"] == "finished"
    assert record["signature"] == finished.name
    values = record["results"]["brick"]["metrics"]
    assert set(values) == {*METRICS, *GAINS.values(), "latency_ms"}
    assert all(0 <= values[name] <= 1 for name in METRICS)
    untrained = record["results"]["brick"]["untrained"]
    for name, gain in GAINS.items():
        assert values[gain] == values[name] - untrained["metrics"][name]
    low, high = record["results"]["brick"]["intervals"]["image_auroc"]
    assert low <= high
    assert len(record["results"]["brick"]["replicates"]["image_auroc"]) == 20
    losses = dict(record["training"]["losses"])
    assert list(losses) == [0, 4, 8] and record["training"]["loss_initial"] == losses[0]
    assert record["training"]["loss_best"] == min(losses[4], losses[8])
    assert set(record["seconds"]) >= {"data", "features", "fit", "test", "total"}
    assert record["choices"]["schedule"] == "cosine"
    assert record["config"]["schedule"]["endpoints"] == "matched"
    assert len(record["schedule"]["log_snr"]) == len(record["schedule"]["weight"]) == 129
    assert "brick" in record["audit"] and "test_set" in record["protocol"]


def test_wandb_log_alone_holds_the_record(finished: Path) -> None:
    (kept,) = finished.glob(f"wandb/offline-run-*/files/{record_file.RECORD}")
    assert kept.read_bytes() == (finished / record_file.RECORD).read_bytes() and not kept.is_symlink()
    (run,) = sources.read(str(finished / "wandb")).runs
    assert run.record == record_file.read(finished / record_file.RECORD)


def test_two_folders_give_the_same_figures(finished: Path, tmp_path: Path) -> None:
    assert train(f"hydra.run.dir={tmp_path}/elsewhere") == 0
    here, there = (json.loads((path / "record.json").read_text()) for path in (finished, tmp_path / "elsewhere"))
    for record in (here, there):
        del record["results"]["brick"]["metrics"]["latency_ms"]  # a time, not a result
    assert here["results"] == there["results"]
    assert (finished / "scores.csv").read_bytes() == (tmp_path / "elsewhere" / "scores.csv").read_bytes()


def test_finished_run_is_found_without_torch(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(finished.parents[2])
    monkeypatch.setitem(sys.modules, "diffect.training.run", None)  # importing it now fails
    before = (finished / "record.json").stat().st_mtime_ns
    assert train() == 0
    assert (finished / "record.json").stat().st_mtime_ns == before


CELLS = ("detector=learned", "denoiser=mlp", "training.cells=64", "training.steps=8")


@pytest.mark.parametrize("recipe", [(), CELLS], ids=["images", "cells"])
def test_interrupted_run_resumes_to_the_straight_runs_figures(
    recipe: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffect.detector.module import DetectorModule

    (tmp_path / "straight").mkdir()
    monkeypatch.chdir(tmp_path / "straight")
    assert train(*recipe) == 0
    finished = only(tmp_path / "straight" / "outputs")
    monkeypatch.chdir(tmp_path)
    step = DetectorModule.training_step

    def killed(self: DetectorModule, batch: object, number: int) -> object:
        if self.global_step == 6:
            raise RuntimeError("the machine is gone")
        return step(self, batch, number)  # type: ignore[arg-type]

    monkeypatch.setattr(DetectorModule, "training_step", killed)
    with pytest.raises(RuntimeError, match="the machine is gone"):
        train(*recipe)
    folder = only(tmp_path / "outputs")
    assert (folder / "resume" / "last.ckpt").is_file()
    assert json.loads((folder / "record.json").read_text())["status"] == "failed"
    monkeypatch.setattr(DetectorModule, "training_step", step)
    assert train(*recipe) == 0
    assert (folder / "scores.csv").read_bytes() == (finished / "scores.csv").read_bytes()
    straight, resumed = (json.loads((path / "record.json").read_text()) for path in (finished, folder))
    for record in (straight, resumed):
        del record["results"]["brick"]["metrics"]["latency_ms"]  # a time, not a result
    assert straight["training"] == resumed["training"] and straight["results"] == resumed["results"]
    assert straight["results"]["brick"]["untrained"]["metrics"]["image_auroc"] is not None


def test_ctrl_c_is_reported_and_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from diffect.detector.module import DetectorModule

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(DetectorModule, "training_step", interrupted)
    assert train("-m", "seed=0,1", "study=stopped") == 130
    said = capsys.readouterr().err
    assert "0 of 2 runs finished" in said and "start the same command again to continue" in said
    (path,) = tmp_path.glob("outputs/stopped/*/record.json")  # the second was not begun
    record = json.loads(path.read_text())
    assert record["status"] == "interrupted" and record["error"] is None


def test_sweep_goes_on_past_a_failing_run_and_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = ("-m", "schedule=linear,cosine", "schedule.log_snr_range=[-12,7]", "seed=0", "study=mine")
    assert train(*sweep) == 1
    said = capsys.readouterr().err
    assert "[2/2]" in said and "1 of 2 runs finished" in said and "1 failed" in said
    assert "schedule=linear" in said.splitlines()[-1] and "reaches only" in said.splitlines()[-1]
    assert len(list((tmp_path / "outputs" / "mine").glob("*/record.json"))) == 1
    assert len(list((tmp_path / "outputs" / "mine").iterdir())) == 1  # the failed one left nothing
    assert train(*sweep) == 1  # found, not run again
    assert "(1 found finished)" in capsys.readouterr().err


def test_sweep_goes_on_while_another_process_makes_a_run_and_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from hydra_plugins.diffect_study import sweeper

    other = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import sys, time; from pathlib import Path; from diffect.storage.lock import lock\n"
            "with lock(Path('outputs/both/0/diffect.lock'), wait=True): print('held', flush=True); time.sleep(100)",
        ],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
    )
    assert other.stdout is not None and other.stdout.readline()

    def killed(_: float) -> None:  # the sweep has nothing else to do now
        assert (tmp_path / "outputs/both/1/record.json").is_file()
        other.kill()
        other.wait()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweeper, "time", SimpleNamespace(sleep=killed, monotonic=time.monotonic))
    assert train("-m", "seed=0,1", "study=both", "hydra.sweep.subdir=${seed}") == 0
    said = capsys.readouterr().err
    assert f"being made by process {other.pid}" in said and "2 of 2 runs finished (0 found finished)" in said
    assert {path.name for path in (tmp_path / "outputs/both").iterdir()} == {"0", "1"}
    assert not list(tmp_path.glob("outputs/both/*/diffect.lock*"))


def test_command_line_replaces_a_files_sweep() -> None:
    from hydra_plugins.diffect_study.sweeper import grid

    params = {"seed": "0,1", "schedule": "linear,cosine"}
    assert grid(params, ["seed=5"]) == [["schedule=linear", "seed=5"], ["schedule=cosine", "seed=5"]]
    assert len(grid(params, ["seed=range(0,3)", "denoiser=conv"])) == 6


def test_score_repeats_the_runs_own_scores_whatever_the_batch(finished: Path, tmp_path: Path) -> None:
    for size in (1, 7, 16):
        out = tmp_path / str(size)
        assert main(["score", f"run={finished}", f"out={out}", f"batch_size={size}", "maps=false"]) == 0
        with (finished / "scores.csv").open() as one, (out / "scores.csv").open() as other:
            mine = {f"{row['category']}/{row['name']}": float(row["score"]) for row in csv.DictReader(one)}
            again = {row["name"]: float(row["score"]) for row in csv.DictReader(other)}
        assert again == pytest.approx(mine, rel=1e-5)


def test_sixteen_bit_images_score_alike_alone_and_in_a_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for folder, count, top in (("train/good", 24, 4000), ("test/good", 3, 200), ("test/dent", 3, 4000)):
        place = tmp_path / "data" / "part" / folder
        place.mkdir(parents=True)
        for number in range(count):  # a 12-bit sensor; some test images are so dark that 8 bits would hold them
            Image.fromarray(rng.integers(0, top, (64, 64)).astype(np.uint16)).save(place / f"{number}.png")
    monkeypatch.chdir(tmp_path)
    assert main(["train", *SMALL, "data=mvtec", "data.root=data", "data.category=part"]) == 0
    run = only(tmp_path / "outputs")
    assert main(["score", f"run={run}", "out=alone", "batch_size=1", "maps=false"]) == 0
    with (run / "scores.csv").open() as one, Path("alone/scores.csv").open() as other:
        mine = {f"{row['category']}/{row['name']}": float(row["score"]) for row in csv.DictReader(one)}
        again = {row["name"]: float(row["score"]) for row in csv.DictReader(other)}
    assert again == pytest.approx(mine, rel=1e-5)


def test_score_new_images_with_maps(finished: Path, tmp_path: Path) -> None:
    from PIL import Image

    Image.linear_gradient("L").resize((90, 60)).save(tmp_path / "one.png")
    Image.linear_gradient("L").convert("RGB").save(tmp_path / "two.jpg")
    assert main(["score", f"run={finished}", f"images={tmp_path}", f"out={tmp_path}/out"]) == 0
    with (tmp_path / "out" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["one.png", "two.jpg"]
    assert all(row["flagged"] in ("true", "false") for row in rows)
    assert Image.open(tmp_path / "out" / "maps" / "one.png").size == (64, 64)


def test_one_model_for_two_categories(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert train("data.category=[brick,grass]", "denoiser.guidance=0.5") == 0
    record = json.loads((only(tmp_path / "outputs") / "record.json").read_text())
    assert record["categories"] == ["brick", "grass"]
    assert set(record["results"]) == {"brick", "grass"}
    tested = [sorted(row["defect"] for row in result["scores"]) for result in record["results"].values()]
    assert tested[0] == tested[1]


@pytest.mark.parametrize("shots", [4, 12])
def test_few_shots(shots: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(f"data.shots={shots}", "data.batch_size=2") == 0
    record = json.loads((only(tmp_path / "outputs") / "record.json").read_text())
    assert record["results"]["brick"]["metrics"]["conformal_fpr"] is None
    assert "19" in record["protocol"]["threshold"]
    if shots == 4:
        assert record["training"]["loss_best"] is None and "last step" in record["protocol"]["checkpoint"]


TUNED = dict.fromkeys(("default_choice", "model_selection"), "tune")
REPORTED = ("contamination", "default_choice", "few_shot", "multi_category", "noise_schedules")  # of each sort one
SMALLER = {  # than what all are made smaller by
    "architectures": ["representation.grid=4"],
    "pixels": ["data.size=32", "scorer.steps=2"],
    "scorers": ["representation.grid=4"],
    **{name: ["tune.copies=1", "tune.replicates=20"] for name in TUNED},
}
FEWER = {  # of a crossed study some values of each axis; the others of these axes are run in other studies
    "architectures": ["denoiser=conv,dit"],
    "closed_form": ["denoiser=empirical,mlp"],
    "contamination": ["detector=diffusion,simplenet", "data.contamination=0.1", "outlier_removal=z_score"],
    "default_choice": ["tune.candidates=[{denoiser:[gaussian,empirical]},{scorer.levels:[[-1.0]]}]"],
    "demo": ["schedule=linear,cosine"],
    "detection": ["detector=learned,padim,patchcore,diffusion_time,inversion"],
    "few_shot": ["data.shots=1,null", "data.augment_copies=2"],
    "model_selection": ["tune.candidates=[{scorer.levels:[[1.0],[3.0]]}]"],
    "noise_schedules": ["schedule=linear,laplace"],
    "representations": ["representation.scaling=scaled,whitened", "representation.statistics=cell"],
    "scorers": ["scorer=likelihood,reconstruction"],
}


@pytest.mark.parametrize(
    "name", [path.stem for path in sorted((Path(__file__).parents[2] / "conf" / "experiment").glob("*.yaml"))]
)
def test_every_experiment_runs_small(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = ["data.size=64", "data.category=brick", "data.source.train=40", "data.source.good=6", "seed=0"]
    small += ["data.source.defective=2", "evaluation.replicates=5", "evaluation.latency_repeats=1", "panel=2"]
    if name not in ("default_choice", "few_shot", "multi_category", "representations"):  # in which nothing learns
        small += ["data.batch_size=2", "training.steps=2", "training.validate_every=1"]
    elif name != "few_shot":
        small += ["evaluation.folds=2"]
    small += SMALLER.get(name, []) + FEWER.get(name, [])
    assert main([TUNED.get(name, "train"), f"experiment={name}", *small]) == 0
    records = [json.loads(path.read_text()) for path in tmp_path.glob(f"outputs/{name}/*/record.json")]
    assert records and all(one["status"] == "finished" for one in records)
    if name not in REPORTED:
        return
    assert main(["report", f"experiment={name}"]) == 0
    made = {path.name for path in (tmp_path / "experiments" / name).iterdir()}
    assert made >= {"runs.csv", "table.md", "table.tex", "comparison.png", "maps.png", "report.html", "paper.tex"}
    # A schedule is drawn where runs train by one; closed forms do not.
    trained = any(one["training"]["steps"] and one["choices"]["denoiser"] != "none" for one in records)
    assert ("schedules.png" in made) == trained


@pytest.mark.parametrize(("low", "warned"), [(0.04, False), (0.3, True)])
def test_a_promise_that_was_not_kept_is_said(low: float, warned: bool, capsys: pytest.CaptureFixture[str]) -> None:
    record = make(config={"evaluation": {"conformal_rate": 0.05}})
    record["intervals"]["brick"]["conformal_fpr"] = [low, 0.6]
    record["seconds"] = {"total": 1.0}
    show(record_of(record), Path("run"), found=False)
    assert ("false-positive rate of 0.05 was not kept" in capsys.readouterr().out) == warned


def test_what_the_images_were_used_for_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    few = {"fit": 4, "selection": 0, "calibration": 0, "test": 46, "copies": 28}
    many = {"fit": 60, "selection": 9, "calibration": 20, "test": 46, "contaminated": {"fit": 1, "selection": 0}}
    for counts in (few, many | {"dropped": {"fit": 5}}):
        config = {"evaluation": {"conformal_rate": 0.05}}
        show(record_of(make(config=config, splits={"categories": {"brick": counts}})), Path("run"), found=False)
    first, second = (line for line in capsys.readouterr().out.splitlines() if "images:" in line)
    assert first == ("  images: fit 4 and 28 copies, test 46; none held out for selection")
    assert second == (
        "  images: fit 60, selection 9, calibration 20, test 46; defective among the normal ones: fit 1; "
        "left out: fit 5"
    )


# Bad input: one sentence, exit status 1, nothing left behind


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainig.steps=3"], "trainig"),
        (["experiment=demo,pixels"], "one experiment per launch"),
        (["-m", "experiment=demo", "experiment=pixels"], "one experiment per launch"),
        (["data.category=brik"], "data.category=brik is not in the data: did you mean brick? It holds brick"),
        (["data.category=nope"], "data.category=nope is not in the data: it holds brick, grass, gravel"),
        (["data.contamination=0.1", "data.contamination_from=3"], "data.contamination_from=3 is not a folder"),
        (["data=mvtec"], "data.root"),
        (["experiment=demmo"], "did you mean demo?"),
        (["schedule=cosin"], "did you mean cosine?"),
        (["training.stepz=3"], "did you mean training.steps?"),
        (["data.root=x"], "data.root says where a folder of images is, and the chosen data have none; add data=mvtec"),
        (["schedule=cosine,linear"], "add -m to sweep"),
        (["-m", "schedule=cosine,linaer"], "did you mean linear?"),
        (["training.steps=abc"], "training.steps is 'abc'; it must be a whole number"),
        (["data=mvtec", "data.root=nowhere"], "nowhere"),
        (["denoiser.guidance=2"], "several categories"),
        (["backbone=exported"], "backbone.path"),
        (["backbone=exported", "backbone.path=none.pt2"], "none.pt2"),
        (["trainer.accelerator=tpu"], "trainer"),
        (["tracking.mode=online"], "wandb login"),
    ],
)
def test_bad_input(overrides: list[str], said: str, refused: Callable[..., str]) -> None:
    assert said in refused("train", *SMALL, *overrides)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("training.validate_every", 3, "training.validate_every is 3"),
        ("data.batch_size", 0, "data.batch_size"),
        ("data.category", None, "data.category is null; it must be a name or a list of names"),
        ("data.category", [3], "data.category is [3]; it must be a name or a list of names"),
        ("data.shots", "abc", "data.shots is 'abc'; it must be a whole number"),
        ("data.shots", 2.5, "data.shots is 2.5"),
        ("data.shots", True, "data.shots is True"),
        ("data.contamination", "abc", "data.contamination is 'abc'; it must be a number"),
        ("data.contamination", None, "data.contamination is null"),
        ("data.augment", None, "data.augment is null; it must be"),
        ("data.augment", 3, "data.augment is 3"),
        ("denoiser.guidance", "abc", "denoiser.guidance is 'abc'; it must be a number"),
        ("outlier_removal.threshold", "abc", "outlier_removal.threshold is 'abc'; it must be a number"),
        ("outlier_removal.threshold", None, "outlier_removal.threshold is null"),
        (
            "outlier_removal.denoiser",
            "conv",
            "outlier_removal.denoiser is 'conv'; it must be a choice of its group: denoiser@outlier_removal.denoiser=",
        ),
        ("outlier_removal.scorer", None, "outlier_removal.scorer is null; it must be a choice of its group"),
        ("outlier_removal.scorer.draws", 2.5, "outlier_removal.scorer.draws is 2.5; it must be a whole number"),
        ("data.source.size", "abc", "data.source.size is 'abc'; it must be a whole number"),
        ("data.batches_per_epoch", None, "data.batches_per_epoch is null; it must be a whole number"),
        ("backbone.blocks", 4, "backbone.blocks is 4; it must be a list, each item a whole number"),
        ("scorer.levels", ["abc"], "scorer.levels is ['abc']; it must be a list of log-SNRs between -20 and 20"),
        ("scorer.levels", 2, "scorer.levels is 2"),
        ("scorer.levels", [99], "scorer.levels"),
        ("representation.floor", None, "representation.floor is null; it must be a number"),
        ("representation.scaling", "none", "it must be raw, scaled, standard or whitened"),
        ("denoiser.network.kernel", "abc", "denoiser.network.kernel is 'abc'; it must be a whole number"),
        ("denoiser.prediction", "u", "it must be eps, v or x0"),
        ("head.kinds", None, "head.kinds is null; it must be"),
        ("head.dropout", "abc", "head.dropout is 'abc'; it must be a number"),
        ("conditional", "maybe", "conditional is 'maybe'; it must be true or false"),
        ("conditional", None, "conditional is null; it must be true or false"),
        ("seed", -1, "seed is -1"),
        ("trainer.precision", "foo", "trainer"),
        ("tracking.mode", "foo", "it must be auto, online, offline or disabled"),
        ("tracking.project", "a/b", "tracking.project is 'a/b'; it must be 1 to 128 characters, none of / \\ # ? % :"),
        ("tracking.entity", "my team", "tracking.entity is 'my team'; it must be letters, digits, -, _ and ."),
        ("tracking.timeout", 0, "tracking.timeout is 0; it must be a number, above 0"),
        ("anomaly_map.pool", "min", "it must be max or top_mean"),
        ("schedule.endpoints", "open", "it must be native, matched or affine"),
    ],
)
def test_wrong_values_are_refused_before_anything_is_made(key: str, value: object, said: str) -> None:
    cfg = composed("train", *SMALL, "outlier_removal=z_score", "head=synthetic")
    OmegaConf.update(cfg, key, value, merge=False)
    with pytest.raises(ValueError, match=re.escape(said)):
        check(cfg)


def test_nan_loss_stops_with_step_and_level(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train("training.learning_rate=1e30", "trainer.gradient_clip_val=null") == 1
    said = capsys.readouterr().err
    assert "at step" in said and "log-SNR" in said
    record = json.loads((only(tmp_path / "outputs") / "record.json").read_text())
    assert record["status"] == "failed" and "at step" in record["error"]


def test_unwritable_output_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("not a folder")
    assert train(f"hydra.run.dir={tmp_path}/file/run") == 1
    assert f"{tmp_path}/file" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["scores.csv", "checkpoint.pt", "resume/notes.txt"])
def test_a_folder_with_files_of_the_users_is_refused(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = tmp_path / "mine" / name
    theirs.parent.mkdir(parents=True)
    theirs.write_text("mine")
    assert train(f"hydra.run.dir={tmp_path}/mine") == 1
    said = capsys.readouterr().err
    assert f"holds {Path(name).parts[0]} but no record.json" in said and "set hydra.run.dir to a new" in said
    assert theirs.read_text() == "mine" and len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    write = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        if ".ckpt." in path.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(path, content)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "write_bytes", full)
    assert train() == 1
    assert "best.ckpt: No space left on device; free some space, or choose another folder" in capsys.readouterr().err


def test_a_character_that_the_terminal_lacks_is_a_question_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["train", "--cfg", "job", "study='prüfung'"]) == 0
    assert b"study: pr?fung" in terminal.buffer.getvalue()  # type: ignore[attr-defined]


def test_tampered_checkpoint_is_refused_and_not_executed(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "exploded",))  # type: ignore[return-value]

    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    (copy / "checkpoint.pt").write_bytes(pickle.dumps({"signature": Bomb()}))
    assert main(["score", f"run={copy}", "maps=false"]) == 1
    assert "checkpoint.pt" in capsys.readouterr().err
    assert not (tmp_path / "exploded").exists()


def test_checkpoint_of_another_run_is_refused(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished, copy)
    record = (copy / "record.json").read_text()
    (copy / "record.json").write_text(record.replace('"width": 32', '"width": 48'))
    assert main(["score", f"run={copy}", "maps=false"]) == 1
    assert "does not fit the config" in capsys.readouterr().err
