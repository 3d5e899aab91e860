"""A record survives the way to disk and back, whole or not at all, and a bad one is refused by name."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
from records import make

from diffect.runs import record as records


def test_equal_records_are_equal_bytes_and_come_back(tmp_path: Path) -> None:
    record = make()
    first = records.write(tmp_path / "a", record)
    second = records.write(tmp_path / "b", dict(reversed(record.items())))
    assert first.read_bytes() == second.read_bytes()
    assert records.read(first) == record
    assert records.dumps(records.read(first)) == first.read_text()


def test_numpy_becomes_plain_and_what_is_not_finite_null(tmp_path: Path) -> None:
    record = make(extra={"a": np.float32(0.5), "b": np.arange(2), "c": [np.nan, float("inf"), 0.1], "d": (1, 2)})
    path = records.write(tmp_path, record)
    found = records.read(path)["extra"]
    assert found == {"a": 0.5, "b": [0, 1], "c": [None, None, 0.1], "d": [1, 2]}
    assert "NaN" not in path.read_text()


def test_floats_are_written_by_repr(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    path = records.write(tmp_path, make(extra=[value]))
    assert repr(value) in path.read_text()


def test_what_json_does_not_know_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'training\.losses' is a set"):
        records.write(tmp_path, make(training={"losses": {1}}))
    with pytest.raises(ValueError, match="no string"):
        records.write(tmp_path, make(training={1: 2}))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "corrupt"),
        ('{"format": 1, "status": "fin', "corrupt"),
        ('{"format": 1, "x": NaN}', "NaN"),
        ("[]", "expected a JSON object"),
        ('{"format": 7}', "format 7"),
        ('{"format": 1, "status": "done"}', "status 'done'"),
        ('{"format": 1, "status": "finished", "signature": "a", "study": "b"}', "'seed' should be a int"),
        ("[" * 100_000, "corrupt"),
    ],
)
def test_a_corrupt_record_is_refused_by_path(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / records.RECORD
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as caught:
        records.read(path)
    assert str(path) in str(caught.value)


def test_metrics_must_be_numbers_or_null() -> None:
    with pytest.raises(ValueError, match=r"metrics\.brick"):
        records.dumps(make(metrics={"brick": {"image_auroc": "0.9"}}))
    records.dumps(make(metrics={"brick": {"image_auroc": None}}))


@pytest.mark.parametrize(
    ("metric", "value", "allowed"),
    [
        ("image_auroc", 1.2, "1.2, but such a figure lies from 0 to 1"),
        ("pixel_aupro_30", -0.1, "-0.1, but such a figure lies from 0 to 1"),
        ("latency_ms", -1, "-1, but such a figure is at least 0"),
    ],
)
def test_a_figure_beyond_its_range_makes_the_record_corrupt(
    metric: str, value: float, allowed: str, tmp_path: Path
) -> None:
    text = records.dumps(make())
    found = json.loads(text)
    found["metrics"]["brick"][metric] = value
    path = tmp_path / records.RECORD
    path.write_text(json.dumps(found))
    with pytest.raises(ValueError, match=rf"record\.json is corrupt: metrics\.brick\.{metric} is {allowed}"):
        records.read(path)
    records.dumps(make(metrics={"brick": {"image_auroc": 1.0 + 1e-15, "latency_ms": 2e4, "pixel_ap": float("nan")}}))


def test_no_record_and_binary_junk(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        records.read(tmp_path / "none.json")
    (tmp_path / "junk").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8"):
        records.read(tmp_path / "junk")


def test_finished_is_found_only_for_its_own_signature(tmp_path: Path) -> None:
    record = make()
    assert records.finished(tmp_path, record["signature"]) is None
    records.write(tmp_path, make(status="running"))
    assert records.finished(tmp_path, record["signature"]) is None
    records.write(tmp_path, record)
    assert records.finished(tmp_path, record["signature"]) == record
    with pytest.raises(ValueError, match=r"hydra\.run\.dir"):
        records.finished(tmp_path, "0" * 12)


def test_a_failed_run_needs_no_results(tmp_path: Path) -> None:
    record = {"format": 1, "status": "failed", "signature": "a", "study": "b", "error": "no images"}
    assert records.read(records.write(tmp_path, record)) == record


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match=r"cannot write .*record\.json"):
        records.write(tmp_path / "file", make())


def test_a_full_disk_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = records.write(tmp_path, make())
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match="No space left on device"):
        records.write(tmp_path, make(seed=9))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [records.RECORD]


def test_scores_are_ordered_and_keep_every_digit(tmp_path: Path) -> None:
    rows = [
        {"name": "test/scratch/b.png", "defect": "scratch", "anomalous": True, "score": np.float64(1) / 3},
        {"name": 'test/good/a, "x".png', "defect": "good", "anomalous": False, "score": float("nan")},
    ]
    path = records.write_scores(tmp_path, make(scores={"wood": rows, "brick": list(reversed(rows))}))
    lines = path.read_bytes().decode().splitlines()
    assert lines[0] == "name,category,defect,anomalous,score"
    assert lines[1] == '"test/good/a, ""x"".png",brick,good,false,'
    assert lines[2] == f"test/scratch/b.png,brick,scratch,true,{1 / 3!r}"
    assert [line.split(",")[-4] for line in lines[3:]] == ["wood", "wood"]
    assert b"\r" not in path.read_bytes()


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    plain = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE(records.write(tmp_path, make()).stat().st_mode) == plain


def test_metric_names_are_unique_and_the_record_is_plain_json(tmp_path: Path) -> None:
    assert len({metric.name for metric in records.METRICS}) == len(records.METRICS) == 13
    assert json.loads(records.write(tmp_path, make()).read_text())["format"] == records.FORMAT
