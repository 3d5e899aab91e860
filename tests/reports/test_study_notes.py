"""What a study says of its runs' likeness, their latency, and promises of a false-positive rate that were not kept."""

from typing import Any

from records import study_records
from studies import built


def said(records: list[dict[str, Any]], start: str) -> list[str]:
    return [note for note in built(records).notes if note.startswith(start)]


def test_a_promised_rate_that_is_not_kept_is_named_by_category() -> None:
    records = study_records(("cosine", "linear"))
    start = "conformal FPR: the promised rate of 0.05 is not kept"
    assert not said(records, "conformal FPR")
    for record in records:
        (category,) = record["categories"]
        if category == "grass" and record["choices"]["schedule"] == "linear":
            record["metrics"][category]["conformal_fpr"] = 0.6
    (note,) = said(records, start)
    assert "(grass: linear): there calibration and test images are not exchangeable" in note
    assert note.endswith("conformal TPR is worth nothing.")
    for record in records:
        record["config"]["evaluation"] = {"conformal_rate": 0.9}
    assert not said(records, "conformal FPR")


def test_runs_of_a_group_that_differ_in_more_than_seed_and_data_are_named() -> None:
    records = study_records(("cosine", "linear"))
    for record in records:
        record["config"] |= {"denoiser": {"keep": "all", "seed": record["seed"]}, "panel": record["seed"]}
        record["config"]["data"] = {"category": record["categories"][0]}
        record["config"]["schedule"] = {"name": record["choices"]["schedule"]}
    assert not said(records, "runs of one group differ")
    records[0]["config"]["denoiser"]["keep"] = "random"
    (note,) = said(records, "runs of one group differ")
    assert f"(cosine: denoiser.keep of {records[0]['signature']})" in note


def test_latency_says_how_it_was_measured_and_at_which_sizes() -> None:
    records = study_records()
    (note,) = said(records, "latency:")
    assert "the mean over runs on cpu AMD EPYC, 1 thread, which may have been busy" in note and "pixels" not in note
    for record in records:
        record["splits"] = {"canvas": [128, 128], "size": 128}
        if record["categories"] == ["brick"]:
            record["splits"] = {"canvas": [256, 256]}
    (note,) = said(records, "latency:")
    assert note.endswith("; images of 128 x 128 (grass, gravel) and 256 x 256 (brick) pixels.")
    records[0]["device"] = "another"
    (note,) = said(records, "latency:")
    assert "on 2 different devices, so not comparable (another, [cpu AMD EPYC, 1 thread])" in note
