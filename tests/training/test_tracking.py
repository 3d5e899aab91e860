"""Tracking never costs a run: it can be switched off, and a W&B that does not start, or dies, is a warning."""

import logging
import socket
import sys
from pathlib import Path

import psutil
import pytest
import wandb
from records import make, record_of

from diffect.runs import record_file
from diffect.runs import wandb as logs
from diffect.training.tracking import Tracking


@pytest.fixture(autouse=True)
def no_service_of_another_test(monkeypatch: pytest.MonkeyPatch) -> None:
    wandb.teardown()
    monkeypatch.delenv("WANDB_MODE", raising=False)


def killed_service() -> None:
    """End wandb's process as a full memory does."""
    for process in psutil.Process().children(recursive=True):
        if "wandb" in process.name():
            process.kill()
            process.wait()


@pytest.mark.parametrize(("mode", "variable"), [("disabled", None), ("disabled", "offline"), ("auto", "disabled")])
def test_tracking_that_is_off_neither_writes_nor_needs_wandb(
    mode: str, variable: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable is not None:
        monkeypatch.setenv("WANDB_MODE", variable)
    monkeypatch.setitem(sys.modules, "wandb", None)  # importing it now fails
    tracker = Tracking(mode=mode).start(tmp_path, record_of(make()))  # type: ignore[arg-type]
    tracker.log_metrics({"loss": 1.0}, 1)
    tracker.log_results(None, record_of(make()))
    tracker.finish(record_of(make()))
    assert tracker.tracked is None and not list(tmp_path.iterdir())


@pytest.mark.parametrize("variable", ["offline", "dryrun"])
def test_the_environment_says_where_auto_logs_and_a_key_says_more(
    variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", variable)
    assert Tracking().available() == "offline" and Tracking(mode="disabled").available() == "disabled"
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(ValueError, match="WANDB_MODE is 'ofline' in the environment; it must be online, offline or di"):
        Tracking().available()
    assert Tracking(mode="offline").available() == "offline"


def test_a_server_that_does_not_answer_is_an_error_online_and_a_warning_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # bound, and never listening
        monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("WANDB_HTTP_TIMEOUT", "")
        monkeypatch.delenv("WANDB_HTTP_TIMEOUT")  # set by the first call, and undone after the test
        with pytest.raises(ValueError, match=r"tracking\.mode is online, but W&B does not answer"):
            Tracking(mode="online", timeout=1).available()
        assert Tracking(timeout=1).available() == "offline"
    assert "W&B does not answer" in caplog.text and "logged offline" in caplog.text


def test_a_service_that_dies_is_one_warning_and_the_next_run_has_another(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    record = record_of(make())
    tracker = Tracking(mode="offline").start(tmp_path / "first", record)
    assert tracker.tracked is not None
    killed_service()
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            tracker.log_metrics({"loss": 1.0}, step)
        tracker.log_results(None, record)
        tracker.finish(record)
    (said,) = [line.message for line in caplog.records if "W&B failed" in line.message]
    assert "the run goes on, and is logged no further" in said and tracker.tracked is None
    second = Tracking(mode="offline").start(tmp_path / "second", record)
    second.finish(record)
    runs, unread = logs.read_logs(tmp_path / "second")
    assert [run.record for run in runs] == [record] and not unread


def test_a_service_that_cannot_start_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("wandb-core exited with code 1\nand more")

    monkeypatch.setattr(wandb, "init", broken)
    tracker = Tracking(mode="offline").start(tmp_path, record_of(make()))
    assert "W&B failed (wandb-core exited with code 1): the run goes on, and is not logged offline" in caplog.text
    tracker.finish(record_of(make()))
    assert tracker.tracked is None


def test_losses_have_the_step_of_training_as_their_axis(tmp_path: Path) -> None:
    record = record_of(make())
    tracker = Tracking(mode="offline").start(tmp_path, record)
    tracker.log_metrics({"train_loss": 1.0}, 10)
    assert tracker.run.summary["trainer/global_step"] == 10 and tracker.run.name == record.signature
    tracker.finish(record)
    (path,) = tmp_path.glob(f"wandb/offline-run-*/files/{record_file.RECORD}")
    assert record_file.read(path) == record
