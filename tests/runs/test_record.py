"""A record survives the way to disk and back, whole or not at all, and a bad one is refused by file and key."""

import json
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from records import content, make, record_of

from diffect.runs import record_file
from diffect.runs.record import FORMAT, METRICS, ImageScore, Record, Result


def test_equal_records_are_equal_bytes_and_come_back(tmp_path: Path) -> None:
    record = record_of(make())
    first = record_file.write(tmp_path / "a", record)
    second = record_file.write(tmp_path / "b", record_of(dict(reversed(make().items()))))
    assert first.read_bytes() == second.read_bytes()
    assert record_file.read(first) == record
    assert record_file.dumps(record_file.read(first)) == first.read_text()


def test_what_is_not_finite_becomes_null(tmp_path: Path) -> None:
    record = record_of(make(config={"a": float("nan"), "b": [float("inf"), 0.1], "c": (1, 2)}))
    record.results["brick"].metrics["image_ap"] = float("nan")
    path = record_file.write(tmp_path, record)
    found = record_file.read(path)
    assert found.config == {"a": None, "b": [None, 0.1], "c": [1, 2]}
    assert found.results["brick"].metrics["image_ap"] is None
    assert "NaN" not in path.read_text()


def test_floats_are_written_by_repr(tmp_path: Path) -> None:
    value = 0.1 + 0.2
    path = record_file.write(tmp_path, record_of(make(config={"value": value})))
    assert repr(value) in path.read_text()


def test_what_json_does_not_know_is_named(tmp_path: Path) -> None:
    record = record_of(make())
    for config, says in (
        ({"trainer": {"steps": {1}}}, r"'config\.trainer\.steps' is a set"),
        ({"trainer": np.float32(1)}, r"'config\.trainer' is a float32"),
        ({"trainer": {1: 2}}, "is not text"),
    ):
        record.config = config
        with pytest.raises(ValueError, match=says):
            record_file.write(tmp_path, record)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "corrupt"),
        ('{"format": 2, "status": "fin', "corrupt"),
        ('{"format": 2, "x": NaN}', "NaN"),
        ("[]", "expected a JSON object"),
        ('{"format": 7}', "format 7"),
        ('{"format": 2, "status": "done"}', "status: Input should be 'running', 'finished'"),
        ('{"format": 2, "status": "finished", "signature": "a", "study": "b"}', "seed: Field required"),
        ("[" * 100_000, "corrupt"),
    ],
)
def test_a_corrupt_record_is_refused_by_path(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / record_file.RECORD
    path.write_text(text)
    with pytest.raises(ValueError, match=says) as caught:
        record_file.read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_record_of_an_older_format_says_how_to_make_the_run_anew() -> None:
    with pytest.raises(ValueError, match=r"has format 1, .* reads format 2: repeat the run by .*diffect train"):
        record_file.parse({"format": 1, "status": "finished", "metrics": {}})


def changed(*keys: str, value: Any) -> dict[str, Any]:
    """The content of a record with one value replaced."""
    found = content(make())
    node = found
    for key in keys[:-1]:
        node = node[key]
    node[keys[-1]] = value
    return found


@pytest.mark.parametrize(
    ("keys", "value", "says"),
    [
        (("results", "brick", "metrics", "image_auroc"), "0.9", r"results\.brick\.metrics\.image_auroc: .* number"),
        (("results", "brick", "metrics", "image_auroc"), True, r"results\.brick\.metrics\.image_auroc"),
        (("results", "brick", "metrics", "image_auroc"), 1.2, r"metrics: image_auroc is 1\.2; allowed: from 0 to 1"),
        (("results", "brick", "metrics", "pixel_aupro_30"), -0.1, r"pixel_aupro_30 is -0\.1; allowed: from 0 to 1"),
        (("results", "brick", "metrics", "latency_ms"), -1, "latency_ms is -1; allowed: at least 0"),
        (("training", "losses"), [[0, 1.0, 2.0]], r"training\.losses\.0"),
        (("choices", "schedule"), 3, r"choices\.schedule: .* string"),
        (("metrics",), {}, "metrics: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_value_is_named_by_file_and_key(keys: tuple[str, ...], value: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / record_file.RECORD
    path.write_text(json.dumps(changed(*keys, value=value)))
    with pytest.raises(ValueError, match=rf"record\.json is corrupt: .*{says}"):
        record_file.read(path)


def test_a_figure_may_leave_its_range_by_rounding_or_be_undefined() -> None:
    found = Result(metrics={"image_auroc": 1.0 + 1e-15, "latency_ms": 2e4, "pixel_ap": float("nan"), "image_ap": None})
    assert found.metrics["pixel_ap"] is None
    assert record_file.parse(changed("results", "brick", "metrics", value=found.metrics)).results["brick"] is not None


def test_no_record_and_binary_junk(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot read"):
        record_file.read(tmp_path / "none.json")
    (tmp_path / "junk").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not UTF-8"):
        record_file.read(tmp_path / "junk")


def test_finished_is_found_only_for_its_own_signature(tmp_path: Path) -> None:
    record = record_of(make())
    assert record_file.finished(tmp_path, record.signature) is None
    record_file.write(tmp_path, record_of(make(status="running")))
    assert record_file.finished(tmp_path, record.signature) is None
    record_file.write(tmp_path, record)
    assert record_file.finished(tmp_path, record.signature) == record
    with pytest.raises(ValueError, match=r"hydra\.run\.dir"):
        record_file.finished(tmp_path, "0" * 12)


def test_a_failed_run_needs_no_results(tmp_path: Path) -> None:
    record = Record(status="failed", signature="a", study="b", seed=0, choices={}, config={}, error="no images")
    assert record_file.read(record_file.write(tmp_path, record)) == record


def test_test_reads_are_counted_from_the_finished_runs_beside_a_folder(tmp_path: Path) -> None:
    many = {f"key {place:03d}": "x" * 100 for place in range(100)}  # far longer than the header
    states = {"a": ("finished", "e"), "b": ("finished", "e"), "c": ("failed", "e"), "d": ("finished", "f")}
    for name, (status, fingerprint) in states.items():
        record = record_of(make(status=status, fingerprint=fingerprint * 64, choices=many))
        record_file.write(tmp_path / name, record)
    assert record_file.test_reads(tmp_path / "new", "e" * 64) == 2
    assert record_file.test_reads(tmp_path / "a", "e" * 64) == 1  # a run does not count itself


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ValueError, match=r"cannot write .*record\.json"):
        record_file.write(tmp_path / "file", record_of(make()))


def test_a_full_disk_leaves_the_old_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = record_file.write(tmp_path, record_of(make()))
    before = path.read_bytes()

    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ValueError, match="No space left on device"):
        record_file.write(tmp_path, record_of(make(seed=9)))
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [record_file.RECORD]


def test_scores_are_ordered_and_keep_every_digit(tmp_path: Path) -> None:
    rows = [
        ImageScore(name="test/scratch/b.png", defect="scratch", anomalous=True, score=1 / 3),
        ImageScore(name='test/good/a, "x".png', defect="good", anomalous=False, score=0.5, p_value=2 / 3),
    ]
    record = record_of(make())
    record.results = {"wood": Result(scores=rows), "brick": Result(scores=rows[::-1])}
    record_file.write_scores(tmp_path, record)
    path = tmp_path / record_file.SCORES
    lines = path.read_bytes().decode().splitlines()
    assert lines[0] == "name,category,defect,anomalous,score,p_value"
    assert lines[1] == '"test/good/a, ""x"".png",brick,good,false,0.5,0.666667'
    assert lines[2] == f"test/scratch/b.png,brick,scratch,true,{1 / 3!r},"
    assert [line.split(",")[-5] for line in lines[3:]] == ["wood", "wood"]
    assert b"\r" not in path.read_bytes()


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    plain = stat.S_IMODE((tmp_path / "plain").stat().st_mode)
    assert stat.S_IMODE(record_file.write(tmp_path, record_of(make())).stat().st_mode) == plain


def test_metric_names_are_unique_and_the_record_is_plain_json(tmp_path: Path) -> None:
    assert len({metric.name for metric in METRICS}) == len(METRICS) == 15
    assert json.loads(record_file.write(tmp_path, record_of(make())).read_text())["format"] == FORMAT
