"""Records in folders, W&B logs and a W&B project are one source: the same runs, the same bytes in every table."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from records import lay, make, record_of, study_records
from wandb_server import KEY, Logged, serve

from diffect.cli import report
from diffect.reports import charts
from diffect.runs import record_file, sources
from diffect.runs.record_file import RECORD

pytestmark = pytest.mark.slow


def reported(out: Path, **config: Any) -> dict[str, bytes]:
    """The tables of a report: all that is text in it, but the page. Charts take most of the time: there are none."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(charts, "study_charts", lambda study: ([], []))
        report.run(OmegaConf.create({"out": str(out), "outputs": "none", **config}))
    return {path.name: path.read_bytes() for path in out.iterdir() if path.suffix in (".csv", ".md", ".tex")}


def logs(folder: Path, records: list[dict[str, Any]]) -> Path:
    """An offline log for each record, where `wandb` leaves it below a run's folder."""
    for record in records:
        log = folder / record["signature"] / "wandb" / "offline-run-20260101_000000-x"
        record_file.write(log / "files", record_of(record))
        (log / "run-x.wandb").write_bytes(b":W&B")
    return folder


def log_of(folder: Path) -> Path:
    return sorted(folder.glob("*/wandb/*"))[0]


def test_three_sources_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = study_records(names=("cosine", "linear"), categories=("brick", "grass"))
    records[-1] |= {"status": "failed", "error": "loss is NaN"}
    for record in records:
        record["choices"]["data.root"] = f"/data/{record['categories'][0]}"
    records[1]["wandb"] = {"id": "x1y2", "mode": "offline"}
    outputs = lay(tmp_path / "outputs" / "demo", records).parent
    first = reported(tmp_path / "a", experiment="demo", outputs=str(outputs))
    second = reported(tmp_path / "b", source=str(logs(tmp_path / "logs", records)))
    with serve([Logged(r["signature"], {"study": "demo"}, record_file.dumps(record_of(r))) for r in records]) as server:
        monkeypatch.setenv("WANDB_BASE_URL", server.url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        third = reported(tmp_path / "c", source="wandb:team/lab", experiment="demo")
    assert first == second == third and {"long.csv", "runs.csv", "table.csv", "table.md", "table.tex"} <= first.keys()
    assert records[-1]["signature"].encode() in first["table.md"]


def test_a_folder_is_one_of_runs_or_one_of_studies(tmp_path: Path) -> None:
    lay(tmp_path / "demo", study_records())
    lay(tmp_path / "other", [make(study="other")])
    (tmp_path / "demo" / "0123456789ab").mkdir()
    (tmp_path / "demo" / "report").mkdir()
    for source, study in ((tmp_path, "demo"), (tmp_path / "demo", None), (tmp_path / "demo", "demo")):
        found = sources.read(str(source), study)
        assert (found.study, len(found.runs)) == ("demo", 24)
        (item,) = found.ignored
        assert (Path(item.name).name, item.reason) == ("0123456789ab", "unfinished: it has no record yet")
    with pytest.raises(ValueError, match=r"runs of 2 studies: demo \(24\), other \(1\); choose one"):
        sources.read(str(tmp_path))
    with pytest.raises(ValueError, match=r"no runs of 'dmo' in .*; did you mean demo\?"):
        sources.read(str(tmp_path), "dmo")


def test_many_logs_are_read_and_those_without_a_record_named(tmp_path: Path) -> None:
    folder = logs(tmp_path, study_records(seeds=tuple(range(5))))
    for name, text in {"empty": "", "cut": (log_of(tmp_path) / "files" / RECORD).read_text()[:1000]}.items():
        (folder / name / "files").mkdir(parents=True)
        (folder / name / "files" / RECORD).write_text(text)
    (folder / "stopped").mkdir()
    (folder / "stopped" / "run-x.wandb").write_bytes(b"")
    shutil.copytree(log_of(tmp_path), folder / "copy")
    found = sources.read(str(folder))
    assert len(found.runs) == 60 and found.left_out == ()
    reasons = {Path(item.name).name: item.reason for item in found.ignored}
    assert "corrupt" in reasons.pop("empty") and "corrupt" in reasons.pop("cut")
    assert reasons.pop("stopped").startswith("it holds no record: the run was stopped before it ended")
    assert [reason.partition(":")[0] for reason in reasons.values()] == ["duplicate"]


def test_records_come_before_logs(tmp_path: Path) -> None:
    logs(lay(tmp_path / "demo", [make()]), [make("linear")])
    (run,) = sources.read(str(tmp_path / "demo")).runs
    assert run.record == record_of(make())


def test_what_is_no_source_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"source=.*none is not a folder; it must hold runs or W&B logs, or be wandb:"):
        sources.read(str(tmp_path / "none"))
    with pytest.raises(ValueError, match=r"there are no runs in "):
        sources.read(str(tmp_path))


def test_a_report_says_what_its_source_holds_besides(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = logs(tmp_path, [make(), make("linear"), make("edm", study="other")])
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "run.wandb").write_bytes(b"")
    reported(tmp_path / "out", source=str(folder), experiment="demo")
    printed = capsys.readouterr().out
    assert "left out: a, b: it holds no record" in printed
    assert "left out: other: another study, of 1 logged" in printed


def test_a_study_from_elsewhere_does_not_choose_where_the_report_goes(tmp_path: Path) -> None:
    folder = logs(tmp_path, [make(study="../../x")])
    with pytest.raises(ValueError, match=r"the study's name, '../../x', cannot name a folder.*out=FOLDER"):
        report.run(OmegaConf.create({"source": str(folder), "outputs": "none"}))
