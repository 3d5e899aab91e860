"""A folder of records becomes one table; nothing is left out without a reason or counted twice."""

import subprocess
import sys
from pathlib import Path

import pytest
from records import lay, make, study_records

from diffect.runs import grid, table
from diffect.runs.record import METRICS, RECORD


def reasons(left_out: list[table.LeftOut]) -> dict[str, str]:
    return {item.name: item.reason for item in left_out}


def test_a_crossed_study_is_read_in_one_order(tmp_path: Path) -> None:
    runs, left_out = table.load(lay(tmp_path, study_records()), "demo")
    assert len(runs) == 24 and left_out == []
    assert grid.axes(runs) == ("schedule",)
    found = grid.groups(runs, ("schedule",))
    assert [group.values for group in found] == [("cosine",), ("edm",), ("laplace",), ("linear",)]
    assert all(group.missing == () and len(group.runs) == 6 for group in found)
    long = table.rows(runs)
    assert len(long) == 24 * len(METRICS)
    first = long[0]
    assert (first.metric, first.category, first.seed, first.experiment) == ("image_auroc", "brick", 0, "demo")
    assert first.lo is not None and first.value is not None and first.lo < first.value


def test_what_is_left_out_is_named_with_its_reason(tmp_path: Path) -> None:
    lay(tmp_path, [make()])
    lay(tmp_path, [make("linear", status="running"), make("edm", status="failed", error="a\nNaN at step 3")])
    lay(tmp_path, [make("laplace", study="other")])
    (tmp_path / "0123456789ab").mkdir()
    (tmp_path / "report").mkdir()
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / RECORD).write_text('{"format": 1')
    runs, left_out = table.load(tmp_path, "demo")
    assert len(runs) == 1
    found = sorted(reasons(left_out).values())
    assert [reason.split(":")[0] for reason in found] == [
        "corrupt",
        "failed",
        "of another study",
        "unfinished",
        "unfinished",
    ]
    assert "failed: a NaN at step 3" in found
    assert "report" not in reasons(left_out)


def test_a_second_run_of_the_same_cell_is_never_a_second_seed(tmp_path: Path) -> None:
    old = make(signature="a" * 12)
    new = make(signature="b" * 12, created="2026-02-01T00:00:00Z", versions={"diffect": "0.2.0"})
    copy = make("linear")
    lay(tmp_path, [old, new, copy])
    (tmp_path / "copied").mkdir()
    (tmp_path / "copied" / RECORD).write_bytes((tmp_path / copy["signature"] / RECORD).read_bytes())
    runs, left_out = table.load(tmp_path)
    assert len(runs) == 2
    found = reasons(left_out)
    assert found["a" * 12].startswith("superseded") and "versions.diffect" in found["a" * 12]
    assert found[copy["signature"]].startswith("duplicate: copied")


def test_only_choices_that_change_a_number_make_an_axis(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "linear"), seeds=(0, 1))
    for record in records:
        record["choices"] |= {"seed": str(record["seed"]), "data.root": f"/data/{record['categories'][0]}"}
        record["choices"]["tracking"] = f"{record['seed']}"
    runs, _ = table.load(lay(tmp_path, records))
    assert grid.axes(runs) == ("schedule",)


def test_shots_and_an_override_that_some_runs_lack_are_axes(tmp_path: Path) -> None:
    records = []
    for shots in ("2", "10", None):
        for record in study_records(names=("cosine",), seeds=(0,)):
            if shots is not None:
                record["choices"]["data.shots"] = shots
            record["signature"] = f"{len(records):012x}"
            records.append(record)
    runs, left_out = table.load(lay(tmp_path, records))
    assert left_out == []
    assert grid.axes(runs) == ("data.shots",)
    assert [group.values[0] for group in grid.groups(runs, ("data.shots",))] == ["2", "10", "default"]


def test_trained_alone_or_together_is_an_axis(tmp_path: Path) -> None:
    alone = study_records(names=("cosine",), categories=("a", "b"), seeds=(0,))
    joint = make("cosine", "a", 0, signature="f" * 12, categories=["a", "b"])
    joint["metrics"]["b"] = joint["metrics"]["a"]
    runs, _ = table.load(lay(tmp_path, [*alone, joint]))
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
        runs.append(table.Run(Path(record["signature"]), record))
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
    one, other = (table.Run(Path(), make(name)) for name in ("cosine", "linear"))
    assert grid.same_images(one, other, "brick")
    other.record["scores"]["brick"][0]["name"] = "test/good/100.png"
    assert not grid.same_images(one, other, "brick")
    third = table.Run(Path(), make("edm", splits={"fingerprint": "another"}))
    assert not grid.same_images(one, third, "brick")
    joint = table.Run(Path(), make("edm", categories=["brick", "grass"], splits={"fingerprint": "of both"}))
    assert grid.same_images(one, joint, "brick")


def test_holes_are_found(tmp_path: Path) -> None:
    records = study_records(names=("cosine", "linear"), categories=("a", "b"), seeds=(0, 1))
    runs, _ = table.load(lay(tmp_path, records[:-1]))
    full, short = grid.groups(runs, grid.axes(runs))
    assert full.missing == () and short.missing == (("b", 1),)
    assert (full.planned, short.planned) == (4, 4)
    pairs = [grid.Group(values, ()) for values in (("a", "x"), ("a", "y"), ("b", "x"))]
    assert grid.absent(pairs) == [("b", "y")]


def test_csv_holds_every_digit_and_empty_for_null(tmp_path: Path) -> None:
    record = make()
    record["metrics"]["brick"]["pixel_ap"] = None
    runs, _ = table.load(lay(tmp_path, [record]))
    header, row = table.to_csv(runs, ()).splitlines()
    found = dict(zip(header.split(","), row.split(","), strict=True))
    assert found["image_auroc"] == repr(record["metrics"]["brick"]["image_auroc"])
    assert found["pixel_ap"] == ""
    lo, hi = record["intervals"]["brick"]["image_tpr_at_5fpr"]
    assert (found["image_tpr_at_5fpr_lo"], found["image_tpr_at_5fpr_hi"]) == (repr(lo), repr(hi))


def test_no_folder_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no folder"):
        table.load(tmp_path / "none")


def test_runs_and_reports_stand_without_torch_and_wandb() -> None:
    code = (
        "import sys; import diffect.runs.grid, diffect.runs.wandb_files, diffect.commands.report;"
        "import diffect.reports.figures, diffect.reports.maps;"
        "print([m for m in ('torch', 'pytorch_lightning', 'diffusers', 'wandb') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
