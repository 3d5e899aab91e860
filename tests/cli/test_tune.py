"""Tuning by the command line: the choice follows its rule, comes before the test set is read, and is found again."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from diffect.cli.main import main
from diffect.cli.train import GROUPS
from diffect.config.files import config_folder
from diffect.data.datamodule import DataModule
from diffect.runs import record_file
from diffect.tuning import candidates, evidence, selection
from diffect.tuning import record as tune_record
from diffect.tuning.record import FIGURES

pytestmark = pytest.mark.slow

SMALL = (
    "data.size=64",
    "data.source.good=6",
    "data.source.defective=2",
    "data.batch_size=8",
    "denoiser=conv",
    "denoiser.network.width=32",
    "denoiser.network.depth=1",
    "training.steps=8",
    "training.validate_every=4",
    "training.warmup=2",
    "evaluation.replicates=20",
    "evaluation.latency_repeats=1",
    "panel=0",
    "gallery=0",
    "tune.copies=2",
    "tune.replicates=40",
    "tune.candidates=[{scorer.levels:[[1.0],[3.0]],scorer.metric:[plain,mahalanobis]},{anomaly_map.share:[0.001,0.1]}]",
)
SETTINGS = 7  # as given, four levels and metrics, two shares


def tune(*overrides: str) -> int:
    return main(["tune", *SMALL, "data.category=[brick,grass]", *overrides])


def told_in(place: Path) -> dict[str, Any]:
    (path,) = place.glob("outputs/*/*/tune.json")
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def brick(place: Path) -> Path:
    """The record of the chosen run on brick."""
    name = told_in(place)["runs"]["brick"]["signature"]
    return place / "outputs" / "single" / name / record_file.RECORD


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a tuning of two textures was done, with hindsight; no test image was scored before the choice stood."""
    place = tmp_path_factory.mktemp("tuned")
    reading = DataModule.test_dataloader

    def watched(self: DataModule) -> Any:
        assert told_in(place)["choice"] is not None, "the test set was read before the choice was fixed"
        return reading(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(DataModule, "test_dataloader", watched)
        assert tune("tune.hindsight=true") == 0
    return place


def test_the_choice_is_what_the_rule_makes_of_the_evidence(tuned: Path) -> None:
    told = told_in(tuned)
    assert told["candidates"][0] == {} and len(told["candidates"]) == SETTINGS
    means, drawn = np.zeros(SETTINGS), np.zeros((SETTINGS, 40))
    for held in told["evidence"].values():
        for index in range(SETTINGS):
            one = held[index]
            means[index] += (one["image_auroc"] + one["pixel_aupro_30"]) / 4
            drawn[index] += np.array(one["replicates"]) / 2
    best = means.argmax()
    errors = (drawn[best] - drawn).std(axis=1, ddof=1)
    assert told["choice"]["best"] == best
    assert told["choice"]["candidate"] == next(i for i in range(SETTINGS) if means[best] - means[i] <= errors[i])


def test_the_evidence_is_kept_by_kind_of_defect(tuned: Path) -> None:
    held_out = record_file.read(brick(tuned)).splits.categories["brick"].selection
    for held in told_in(tuned)["evidence"].values():
        for one in held:
            assert sum(kind["images"] for kind in one["kinds"].values()) == 2 * held_out  # two copies of each
            assert all(0 <= kind[name] <= 1 for kind in one["kinds"].values() for name in FIGURES)


def test_the_choice_was_run_on_each_category_and_its_records_say_how_it_was_made(tuned: Path) -> None:
    told = told_in(tuned)
    overrides = told["candidates"][told["choice"]["candidate"]]
    for category in ("brick", "grass"):
        name = told["runs"][category]["signature"]
        record = record_file.read(tuned / "outputs" / "single" / name / record_file.RECORD)
        assert record.status == "finished" and record.categories == [category]
        assert overrides.items() <= record.choices.items()
        assert "tune" not in record.config
        assert record.tuning is not None and record.tuning.choice.model_dump() == told["choice"]
        assert f"chosen among {SETTINGS} candidates" in record.protocol.settings
        assert record.test_reads == 1
        assert told["test_reads"][category] == 1 + SETTINGS  # in hindsight every candidate has read it


def test_in_hindsight_the_chosen_candidate_has_its_runs_figures(tuned: Path) -> None:
    told = told_in(tuned)
    chosen = told["choice"]["candidate"]
    for category, run in told["runs"].items():
        for name in FIGURES:
            assert told["test"][category][chosen][name] == pytest.approx(run["metrics"][name], abs=1e-6)


def test_regret_is_measured_against_the_best_of_all_candidates(tuned: Path) -> None:
    told = told_in(tuned)
    for category in ("brick", "grass"):
        values = [selection.objective(told["test"][category][index]) for index in range(SETTINGS)]
        found, chosen = told["hindsight"][category], told["choice"]["candidate"]
        assert found["test_best"] == max(values)
        assert found["regret_chosen"] == pytest.approx(max(values) - values[chosen])
        assert found["regret_given"] == pytest.approx(max(values) - values[0])


def test_the_table_has_a_row_for_each_candidate_and_category(tuned: Path) -> None:
    (path,) = tuned.glob("outputs/*/*/candidates.csv")
    rows = list(csv.DictReader(path.open()))
    assert len(rows) == 2 * SETTINGS and sum(row["chosen"] == "true" for row in rows) == 2
    told = told_in(tuned)
    for row in rows:
        figures = told["evidence"][row["category"]][int(row["candidate"])]
        assert float(row["pseudo_image_auroc"]) == pytest.approx(figures["image_auroc"], abs=1e-6)
    assert not (path.parent / "resume").exists()
    assert "In hindsight" in (path.parent / "tune.md").read_text()


def test_a_finished_tuning_is_found_without_torch(
    tuned: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.chdir(tuned)
    monkeypatch.setitem(sys.modules, "diffect.tuning.search", None)  # importing it now fails
    for hindsight in ("true", "false"):
        assert tune(f"tune.hindsight={hindsight}") == 0
    assert "was finished already" in capsys.readouterr().out


def test_an_interrupted_tuning_goes_on_and_comes_to_the_same_choice(
    tuned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    judged: list[str] = []
    on_selection = evidence.on_selection

    def once(trained: Any, candidates: Any, data: DataModule, tune: Any) -> Any:
        judged.append(data.categories[0])
        if len(judged) == 2:
            raise ValueError("the machine is gone")
        return on_selection(trained, candidates, data, tune)

    monkeypatch.setattr(evidence, "on_selection", once)
    assert tune() == 1
    assert all(told_in(tmp_path)["evidence"]["brick"]) and "grass" not in told_in(tmp_path)["evidence"]
    assert tune() == 0
    assert judged == ["brick", "grass", "grass"]
    assert told_in(tmp_path)["choice"] == told_in(tuned)["choice"]
    assert told_in(tmp_path)["hindsight"] is None


@pytest.mark.parametrize(
    ("overrides", "candidates", "noted"),
    [
        (["head=short"], "[{head:[none]},{scorer.levels:[[1.0]]}]", True),
        (["head=short", "head.kinds=[spot]", "tune.kinds=[scar]"], "[{scorer.levels:[[1.0]]}]", False),
        (["denoiser=none", "scorer=diffusion_time"], "[{scorer.width:[64],anomaly_map.share:[0.001,0.1]}]", False),
        (["denoiser=gaussian", "scorer=density"], "[{denoiser.covariance:[shared],scorer.levels:[[1.0]]}]", False),
    ],
)
def test_every_sort_of_detector_is_tuned_on_the_scores_of_its_run(
    overrides: list[str], candidates: str, noted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    short = tmp_path / "conf" / "head" / "short.yaml"
    short.parent.mkdir(parents=True)
    short.write_text("# a head that is trained for three steps\ndefaults: [synthetic]\nsteps: 3\ncopies: 1\n")
    closed = ("training.", "data.batch_size") if "denoiser=gaussian" in overrides else ()
    shared = [override for override in SMALL if not override.startswith(("denoiser.", "tune.candidates", *closed))]
    given = [*shared, *overrides, "data.category=brick", f"tune.candidates={candidates}", "tune.hindsight=true"]
    given += ["evaluation.folds=2"] if closed else []
    given.append(f"hydra.searchpath=[file://{tmp_path}/conf]")
    assert main(["tune", *given]) == 0
    told = told_in(tmp_path)
    chosen = told["test"]["brick"][told["choice"]["candidate"]]
    for name in FIGURES:
        assert chosen[name] == pytest.approx(told["runs"]["brick"]["metrics"][name], abs=1e-6)
    assert bool(told["notes"]) == noted  # evidence from defects like those that a head learned from favours it


# The rule


def figures(objective: float, *replicates: float) -> dict[str, Any]:
    return {"image_auroc": objective, "pixel_aupro_30": objective, "replicates": list(replicates)}


def test_the_first_of_the_tied_is_chosen_and_a_clear_winner_whatever_its_place() -> None:
    noisy = {"a": [figures(0.80, 0.70, 0.90), figures(0.81, 0.90, 0.70)]}
    assert selection.choose(noisy).candidate == 0 and selection.choose(noisy).best == 1
    clear = {"a": [figures(0.80, 0.80, 0.81), figures(0.90, 0.90, 0.91)]}
    assert selection.choose(clear).candidate == 1
    both = {**clear, "b": [figures(0.90, 0.90, 0.91), figures(0.70, 0.70, 0.71)]}
    assert selection.choose(both).candidate == 0  # the mean over categories decides


def test_ranks_correlate_as_spearman_has_it() -> None:
    a, b = np.array([0.1, 0.4, 0.4, 0.9]), np.array([1.0, 2.0, 3.0, 9.0])
    assert selection.rank_correlation(a, a**3) == pytest.approx(1)
    assert selection.rank_correlation(a, -a) == pytest.approx(-1)
    assert selection.rank_correlation(a, b) == pytest.approx(0.9486832980505138)  # scipy.stats.spearmanr
    assert selection.rank_correlation(a, np.ones(4)) is None


# What is refused, before any work


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["tune.candidates=[{scorer.level:[1]}]"], "scorer.level, which the config does not have; did you mean scorer"),
        (["tune.candidates=[{scorers:[1]}]"], "names scorers, which cannot be tuned; did you mean scorer?"),
        (["tune.candidates=[{data.size:[64]}]"], "names data.size, which cannot be tuned"),
        (["tune.candidates=[{scorer:[denoisings]}]"], "there is no scorer=denoisings; did you mean denoising?"),
        (["tune.candidates=[{scorer.levels:[]}]"], "gives scorer.levels the values []"),
        (["tune.candidates=[]"], "tune.candidates is []; it must be a list of grids"),
        (["tune.candidates=[{training.steps:[9]}]"], "it must divide training.steps, 9"),
        (["tune.candidates=[{scorer.levels:[[12]]}]"], "the candidate scorer.levels=[12] cannot be built: scorer.lev"),
        (
            ["tune.candidates=[{anomaly_map.share:[2]}]"],
            "anomaly_map.share is 2; it must be a number, above 0 and 1 or less",
        ),
        (["data.shots=7"], "data.shots is 7, which leaves no selection images"),
        (["tune.kinds=[dent]"], "tune.kinds names the synthetic defect dent; allowed: blur"),
        (["tune.copies=0"], "tune.copies is 0"),
        (["tune.hindsight=maybe"], "tune.hindsight is 'maybe'; it must be true or false"),
        (["data.category=[brick,gras]"], "did you mean grass or gravel?"),
    ],
)
def test_bad_input_is_refused_before_any_training(
    overrides: list[str], said: str, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "train", lambda *_: pytest.fail("training began"))
    assert said in refused("tune", *SMALL, "data.category=[brick,grass]", *overrides)


def test_a_tuning_that_cannot_be_read_is_refused_with_its_path(tmp_path: Path) -> None:
    assert tune_record.read(tmp_path) is None
    for text, reason in (("{", "Invalid JSON"), ('{"format": 1}', "format: Input should be 2")):
        (tmp_path / "tune.json").write_text(text)
        with pytest.raises(ValueError, match=rf"tune.json is corrupt \({reason}.*\); delete it to tune again"):
            tune_record.read(tmp_path)


def test_the_candidates_that_come_with_the_package_can_all_be_built() -> None:
    with initialize_config_dir(str(config_folder("tune")), version_base="1.3"):
        cfg = compose("tune", ["denoiser=conv"])
        listed = candidates.expand(cfg, ["denoiser=conv"], GROUPS)
    assert len(listed) > 50
    for scorer in {json.dumps(OmegaConf.to_container(one.config.scorer, resolve=True)) for one in listed}:
        assert instantiate(json.loads(scorer), channels=[8, 8]).components > 0
