"""Records become tables: the long one, the wide one, and the grid of a study with its groups and holes."""

import csv
import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from records import MEASURED, lay, make, run_of, study_records

from diffect.runs import grid, sources, table


def load(folder: Path, records: list[dict[str, Any]]) -> list[table.Run]:
    return list(sources.read(str(lay(folder, records))).runs)


def test_a_crossed_study_is_read_in_one_order(tmp_path: Path) -> None:
    runs = load(tmp_path, study_records())
    assert len(runs) == 24
    assert grid.axes(runs) == ("schedule",)
    found = grid.groups(runs, ("schedule",))
    assert [group.values for group in found] == [("cosine",), ("edm",), ("laplace",), ("linear",)]
    assert all(group.missing == () and len(group.runs) == 6 for group in found)
    long = table.long(runs)
    assert len(long) == 24 * len(MEASURED)
    first = long.iloc[0]
    assert (first.metric, first.category, first.seed, first.experiment) == ("image_auroc", "brick", 0, "demo")
    assert first.lo < first.value


def test_only_choices_that_change_a_number_make_an_axis(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "linear"), seeds=(0, 1))
    for record in records:
        record["choices"] |= {"seed": str(record["seed"]), "data.root": f"/data/{record['categories'][0]}"}
        record["choices"]["tracking"] = f"{record['seed']}"
    runs = load(tmp_path, records)
    assert grid.axes(runs) == ("schedule",)


def test_shots_and_an_override_that_some_runs_lack_are_axes(tmp_path: Path) -> None:
    records = []
    for shots in ("2", "10", None):
        for record in study_records(names=("cosine",), seeds=(0,)):
            if shots is not None:
                record["choices"]["data.shots"] = shots
            record["signature"] = f"{len(records):012x}"
            records.append(record)
    runs = load(tmp_path, records)
    assert len(runs) == 9
    assert grid.axes(runs) == ("data.shots",)
    assert [group.values[0] for group in grid.groups(runs, ("data.shots",))] == ["2", "10", "default"]


def test_trained_alone_or_together_is_an_axis(tmp_path: Path) -> None:
    alone = study_records(names=("cosine",), categories=("a", "b"), seeds=(0,))
    joint = make("cosine", "a", 0, signature="f" * 12, categories=["a", "b"])
    joint["metrics"]["b"] = joint["metrics"]["a"]
    runs = load(tmp_path, [*alone, joint])
    assert grid.axes(runs) == ("data.category",)
    found = grid.groups(runs, ("data.category",))
    assert [group.values[0] for group in found] == ["2 together: a+b", "alone"]
    assert [(len(group.runs), group.missing) for group in found] == [(1, ()), (2, ())]


def detectors(parts: dict[str, dict[str, str]], **changes: object) -> list[table.Run]:
    """A run per detector, with the other choices that come with it; the config knows the parts alone."""
    runs = []
    changes.setdefault("config", {"denoiser": {"_target_": "x"}, "scorer": {"_target_": "x"}})
    for place, (name, choices) in enumerate(parts.items()):
        record = make(signature=f"{place:012x}", **changes)
        record["choices"] = {"data.category": "brick", "detector": name.split("#")[0], **choices}
        runs.append(run_of(Path(record["signature"]), record))
    return runs


def test_choices_that_follow_from_another_make_no_axis() -> None:
    runs = detectors(
        {
            "diffusion": {"denoiser": "conv", "scorer": "denoising", "training.steps": "400"},
            "inversion": {"denoiser": "conv", "scorer": "inversion"},
            "padim": {"denoiser": "gaussian", "scorer": "density"},
            "patchcore": {"denoiser": "empirical", "scorer": "density"},
        }
    )
    assert grid.axes(runs) == ("detector",)
    assert grid.followers(runs) == {"detector": ("denoiser", "scorer", "training.steps")}


def test_what_varies_within_a_choice_stays_an_axis() -> None:
    runs = detectors(
        {
            "diffusion#1": {"denoiser": "conv", "scorer": "denoising", "training.steps": "400"},
            "diffusion#2": {"denoiser": "conv", "scorer": "denoising", "training.steps": "800"},
            "padim": {"denoiser": "gaussian", "scorer": "density", "training.steps": "0"},
        }
    )
    assert grid.axes(runs) == ("detector", "training.steps")  # the key is finer, and yet brings nothing along
    assert grid.followers(runs) == {"detector": ("denoiser", "scorer")}


def test_keys_that_always_change_together_are_one_axis() -> None:
    runs = detectors(
        {
            "a#1": {"training.steps": "400", "training.batch": "8", "weight": "eps"},
            "a#2": {"training.steps": "800", "training.batch": "4", "weight": "eps"},
            "a#3": {"training.steps": "400", "training.batch": "8", "weight": "x0"},
        }
    )
    assert grid.axes(runs) == ("training.batch", "weight")
    assert grid.followers(runs) == {"training.batch": ("training.steps",)}


def test_of_choices_that_follow_from_each_other_the_one_that_only_sets_others_leads() -> None:
    parts = {"padim": {"denoiser": "gaussian"}, "patchcore": {"denoiser": "empirical"}}
    assert grid.axes(detectors(parts)) == ("detector",)
    runs = detectors(parts, config={"detector": {"_target_": "x"}})
    assert grid.axes(runs) == ("denoiser",)


def test_a_crossed_grid_has_no_followers() -> None:
    parts = {f"{d}#{s}": {"scorer": s} for d in ("a", "b") for s in ("x", "y")}
    runs = detectors(parts)
    assert grid.axes(runs) == ("detector", "scorer") and grid.followers(runs) == {}


def test_runs_pair_only_on_the_same_images() -> None:
    one, other = (run_of(Path(), make(name)) for name in ("cosine", "linear"))
    assert grid.same_images(one, other, "brick")
    other.record.results["brick"].scores[0].name = "test/good/100.png"
    assert not grid.same_images(one, other, "brick")
    third = run_of(Path(), make("edm", fingerprint="another"))
    assert not grid.same_images(one, third, "brick")
    both = make("edm", categories=["brick", "grass"], fingerprint="of both")
    for key in ("metrics", "scores"):
        both[key]["grass"] = both[key]["brick"]
    joint = run_of(Path(), both)
    assert grid.same_images(one, joint, "brick")


def test_holes_are_found(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "linear"), categories=("a", "b"), seeds=(0, 1))
    runs = load(tmp_path, records[:-1])
    full, short = grid.groups(runs, grid.axes(runs))
    assert full.missing == () and short.missing == (("b", 1),)
    assert (full.planned, short.planned) == (4, 4)
    pairs = [grid.Group(("schedule", "denoiser"), values, ()) for values in (("a", "x"), ("a", "y"), ("b", "x"))]
    assert grid.absent(pairs) == [("b", "y")]


def test_csv_holds_every_digit_and_empty_for_null(tmp_path: Path) -> None:
    record = make()
    record["metrics"]["brick"]["pixel_ap"] = None
    runs = load(tmp_path, [record])
    header, row = table.csv_text(table.wide(runs, ())).splitlines()
    found = dict(zip(header.split(","), row.split(","), strict=True))
    assert found["image_auroc"] == repr(record["metrics"]["brick"]["image_auroc"])
    assert found["pixel_ap"] == ""
    lo, hi = record["intervals"]["brick"]["image_tpr_at_5fpr"]
    assert (found["image_tpr_at_5fpr_lo"], found["image_tpr_at_5fpr_hi"]) == (repr(lo), repr(hi))


def test_the_long_table_has_a_row_per_figure_and_a_column_per_choice(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "linear"), categories=("a", "b"), seeds=(0, 1))
    records[0]["choices"] |= {"denoiser.width": "8", "data.root": "/data", "seed": "0"}
    records[0]["wandb"] = {"id": "x1y2"}
    records[0]["metrics"]["a"]["pixel_ap"] = None
    text = table.csv_text(table.long(load(tmp_path, records)))
    found = list(csv.DictReader(io.StringIO(text)))
    assert len(found) == 8 * len(MEASURED)
    choices = ["data", "denoiser", "denoiser.width", "schedule"]
    figures = ["category", "seed", "metric", "value", "lo", "hi"]
    assert list(found[0]) == ["run", "signature", "experiment", *choices, *figures]
    (row,) = (row for row in found if row["run"] == "x1y2" and row["metric"] == "image_auroc")
    value = records[0]["metrics"]["a"]["image_auroc"]
    lo, hi = records[0]["intervals"]["a"]["image_auroc"]
    assert (row["value"], row["lo"], row["hi"]) == (repr(value), repr(lo), repr(hi))
    assert (row["signature"], row["denoiser.width"]) == (records[0]["signature"], "8")
    assert found[-1]["run"] == found[-1]["signature"] and found[-1]["denoiser.width"] == "default"
    assert [row["value"] for row in found if row["run"] == "x1y2" and row["metric"] == "pixel_ap"] == [""]


@pytest.mark.slow
def test_a_report_is_made_without_torch_and_wandb(tmp_path: Path) -> None:
    lay(tmp_path / "runs", study_records(("cosine", "edm"), seeds=(0,)))
    code = (
        "import sys; from diffect.cli.main import main;"
        "status = main(['report', 'source=runs', 'out=out']);"
        "print(status, [m for m in ('torch', 'pytorch_lightning', 'diffusers', 'wandb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"
