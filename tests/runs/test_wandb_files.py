"""A record that wandb logged offline is read back as it was; a damaged log gives what it still holds."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import wandb_logs
from records import make, record_of

from diffect.runs import record_file, wandb_files

pytestmark = pytest.mark.filterwarnings("ignore")

LOG = """
import json, sys, wandb
summaries = json.load(open(sys.argv[1]))
settings = wandb.Settings(console="off", x_disable_stats=True)
run = wandb.init(project="p", mode="offline", dir=sys.argv[2], config={"a": {"b": 1}}, settings=settings)
for summary in summaries:
    for step in range(40):
        run.log({"loss": 1 / (step + 1), "text": "x" * 1000})
    run.summary.update(summary)
run.finish()
"""


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict, str]:
    """A log with the record of a running and then of the finished run; that record; what wandb printed."""
    folder = tmp_path_factory.mktemp("wandb")
    replicates = {f"metric {i}": [j / 7 + i for j in range(1000)] for i in range(14)}
    record = make(replicates={"brick": replicates}, study='quotes " and é and \u2028')
    started = make(status="running")
    summaries = [wandb_files.to_summary(record_of(started)), wandb_files.to_summary(record_of(record))]
    (folder / "in.json").write_text(json.dumps(summaries))
    (folder / "log.py").write_text(LOG)
    command = [sys.executable, str(folder / "log.py"), str(folder / "in.json"), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    (log,) = folder.glob("wandb/offline-run-*/*.wandb")
    return log, record, done.stderr


def test_the_log_gives_the_identical_record(logged: tuple[Path, dict, str]) -> None:
    log, record, _ = logged
    text = record_file.dumps(record_of(record))
    assert len(text) > 250_000
    assert record_file.dumps(wandb_files.read(log)) == text


def test_wandb_finds_no_value_too_large(logged: tuple[Path, dict, str]) -> None:
    assert "Serializing object" not in logged[2]


def test_a_cut_log_gives_the_last_whole_record(logged: tuple[Path, dict, str], tmp_path: Path) -> None:
    data = logged[0].read_bytes()
    seen = []
    for share in (1.0, 0.9, 0.6, 0.4, 0.2):
        (tmp_path / "cut.wandb").write_bytes(data[: int(len(data) * share)])
        try:
            seen.append(wandb_files.read(tmp_path / "cut.wandb").status)
        except ValueError as error:
            assert str(tmp_path / "cut.wandb") in str(error)
            seen.append("none")
    assert seen[0] == "finished"
    assert "running" in seen[1:]
    assert seen == sorted(seen, key=["finished", "running", "none"].index)


def test_a_header_alone_and_zeros_at_the_end(logged: tuple[Path, dict, str], tmp_path: Path) -> None:
    data = logged[0].read_bytes()
    path = tmp_path / "x.wandb"
    path.write_bytes(data[:7])
    with pytest.raises(ValueError, match="stopped before it logged one"):
        wandb_files.read(path)
    path.write_bytes(data + b"\0" * 100_000)
    assert wandb_files.read(path) == record_of(logged[1])


def test_a_log_without_a_record_says_if_it_is_cut_off_or_damaged(tmp_path: Path) -> None:
    path = tmp_path / "x.wandb"
    whole = wandb_logs.write(path).read_bytes()  # some metrics, which take one frame of 7 bytes and their message
    one = wandb_logs.write(path, make(description={"x": "x" * 70_000})).read_bytes()
    cut = r"x\.wandb holds no record: the log is cut off within a message, and what is left of it has none"
    for data in (
        *(one[: len(whole) + kept] for kept in (1, 6, 7, 100, 40_000)),
        one[: 32 * 1024],  # a message that goes on in the next block, which is not there
        whole[:-1],
        whole + b"\0" * 50,
        whole + b"\0" * 100_000,
    ):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=cut):
            wandb_files.read(path)
    path.write_bytes(one[:200] + b"!" + one[201:])
    with pytest.raises(ValueError, match="the log is damaged, and what is left of it has none"):
        wandb_files.read(path)
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="the run was stopped before it logged one"):
        wandb_files.read(path)


def test_damage_early_in_the_log_does_not_reach_the_record(logged: tuple[Path, dict, str], tmp_path: Path) -> None:
    data = bytearray(logged[0].read_bytes())
    data[300] ^= 0xFF
    (tmp_path / "x.wandb").write_bytes(data)
    assert wandb_files.read(tmp_path / "x.wandb") == record_of(logged[1])


def test_damage_inside_the_record_is_seen(logged: tuple[Path, dict, str], tmp_path: Path) -> None:
    data = bytearray(logged[0].read_bytes())
    data[len(data) - 100_000] ^= 0xFF
    (tmp_path / "x.wandb").write_bytes(data)
    assert wandb_files.read(tmp_path / "x.wandb").status == "running"


@pytest.mark.parametrize("data", [b"", b"{}", b"\x89PNG\r\n\x1a\n and more"])
def test_a_foreign_file_is_refused_by_path(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "foreign.wandb"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"foreign\.wandb is no W&B log"):
        wandb_files.read(path)
    with pytest.raises(ValueError, match="cannot be read"):
        wandb_files.read(tmp_path / "none.wandb")


def test_the_summary_form_has_an_inverse_and_ignores_leftovers() -> None:
    long, short = make(description={"x": "x" * 200_000}), make()
    summary = {"loss": 0.5, **wandb_files.to_summary(record_of(long)), **wandb_files.to_summary(record_of(short))}
    assert wandb_files.from_summary(summary) == record_of(short)
    del summary["record/000"]
    with pytest.raises(ValueError, match="a part of a record only"):
        wandb_files.from_summary(summary)
    with pytest.raises(ValueError, match="holds no record"):
        wandb_files.from_summary({"loss": 0.5})
