"""Of what a source holds one study's runs are taken, each once; the rest is named with its reason."""

from pathlib import Path
from typing import Any

import pytest
from records import make, record_of, run_of, study_records

from diffect.runs.selection import Selection, matching, select
from diffect.runs.table import LeftOut


def chosen(records: list[dict[str, Any]], study: str | None = None, unread: tuple[LeftOut, ...] = ()) -> Selection:
    runs = [run_of(Path(f"place{number}"), record) for number, record in enumerate(records)]
    return select(runs, unread, "here", study)


def reasons(items: tuple[LeftOut, ...]) -> dict[str, str]:
    return {item.name: item.reason for item in items}


def test_one_study_in_one_order_whatever_order_it_is_found_in() -> None:
    records = study_records()
    found = chosen(records[::-1])
    assert [run.record for run in found.runs] == [run.record for run in chosen(records).runs]
    assert (found.study, len(found.runs), found.left_out, found.ignored) == ("demo", 24, (), ())


def test_runs_that_failed_are_left_out_and_what_is_no_run_yet_is_only_named() -> None:
    failed = make("edm", status="failed", error="a\nNaN at step 3")
    interrupted = make("laplace", status="interrupted")
    running = make("linear", status="running")
    found = chosen([make(), failed, interrupted, running], unread=(LeftOut("x.wandb", "it is no W&B log"),))
    assert len(found.runs) == 1
    assert reasons(found.left_out) == {
        failed["signature"]: "failed: a NaN at step 3",
        interrupted["signature"]: "unfinished: its status is interrupted",
    }
    assert reasons(found.ignored) == {
        running["signature"]: "unfinished: its status is running",
        "x.wandb": "it is no W&B log",
    }


def test_attempts_and_copies_of_a_run_are_no_runs_of_their_own() -> None:
    run = make(created="2026-01-02T00:00:00Z")
    attempt = make(status="interrupted", created="2026-01-01T00:00:00Z")
    other = make(metrics={"brick": {"image_auroc": 0.5}}, created="2026-01-01T00:00:00Z")
    late = make(status="failed", created="2026-01-03T00:00:00Z")
    found = chosen([attempt, run, run, other, late])
    assert [kept.record for kept in found.runs] == [record_of(run)] and found.left_out == ()
    assert reasons(found.ignored) == {
        "place0": f"an earlier attempt at {run['signature']}",
        "place1": f"duplicate: place2 is the same run, {run['signature']}, with the same figures",
        "place3": f"duplicate: place2 is the same run, {run['signature']}, with other figures",
        "place4": f"an earlier attempt at {run['signature']}",
    }


def test_a_second_run_of_the_same_cell_is_never_a_second_seed() -> None:
    old = make(signature="a" * 12, device="another")
    new = make(signature="b" * 12, created="2026-02-01T00:00:00Z")
    found = chosen([old, new, make("linear")])
    assert len(found.runs) == 2
    reason = f"superseded: {'b' * 12} has the same choices and seed and is newer (they differ in device)"
    assert reasons(found.left_out) == {"a" * 12: reason}


def test_one_table_holds_one_version_of_diffect_the_newest() -> None:
    versions = {"cosine": "0.10.0", "edm": "0.9.1", "laplace": "0.10.0rc1", "linear": None}
    records = [make(name, versions={"diffect": version} if version else {}) for name, version in versions.items()]
    found = chosen(records)
    assert [run.record for run in found.runs] == [record_of(records[0])]
    assert set(reasons(found.left_out)) == {record["signature"] for record in records[1:]}
    assert (
        "made by diffect 0.9.1; the newest runs here are of 0.10.0" in reasons(found.left_out)[records[1]["signature"]]
    )
    assert len(chosen(study_records(versions={"diffect": "0.0.1"})).runs) == 24


def test_two_experiments_are_named_and_either_can_be_picked() -> None:
    records = [make(), make("linear"), make("edm", study="other")]
    with pytest.raises(ValueError, match=r"runs of 2 studies: demo \(2\), other \(1\); .*experiment=NAME"):
        chosen(records)
    found = chosen(records, "demo")
    assert len(found.runs) == 2 and reasons(found.ignored) == {"other": "another study, of 1 logged"}
    with pytest.raises(ValueError, match="no runs of 'dmo' in here; did you mean demo"):
        chosen(records, "dmo")


def test_nothing_to_take_is_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"there are no runs in here$"):
        chosen([])
    with pytest.raises(ValueError, match=r"in here: 1 could not be read, the first, x\.wandb: it is no W&B log"):
        chosen([], unread=(LeftOut("x.wandb", "it is no W&B log"),))
    with pytest.raises(ValueError, match=r"none of the 1 runs of 'demo' .* is finished; .* is failed: NaN; to go on"):
        chosen([make(status="failed", error="NaN")])


def test_some_of_the_runs_are_taken_by_choices_and_keys_of_the_config() -> None:
    found = chosen(study_records())
    kept = matching(found, "schedule=edm and seed=1")
    assert {(run.choice("schedule"), run.record.seed) for run in kept.runs} == {("edm", 1)} and len(kept.runs) == 3
    assert reasons(kept.ignored) == {"21 of 24 runs": "not where schedule=edm and seed=1"}
    assert len(matching(found, "trainer.max_steps=200 and evidence=true").runs) == 24


@pytest.mark.parametrize(
    ("condition", "says"),
    [
        ("schedul=edm", "where=schedul=edm: no run has a key schedul; did you mean schedule\\?"),
        ("schedule=emd", "where=.*: no run has schedule=emd; the values are cosine, edm, laplace, linear"),
        ("schedule=edm and data.category=cable", "no run has data.category=cable; the values are brick, grass, gravel"),
        ("schedule", "where=schedule: 'schedule' is not KEY=VALUE"),
        ("seed==", "where=seed==: 'seed==' is not KEY=VALUE"),
        ("seed=", "where=seed=: 'seed=' is not KEY=VALUE"),
    ],
)
def test_a_condition_that_no_run_meets_is_a_sentence(condition: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        matching(chosen(study_records()), condition)
