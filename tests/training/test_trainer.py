"""What a user gives Lightning's Trainer is used; what a run cannot do is refused before any work."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from configs import composed
from omegaconf import DictConfig
from pytorch_lightning.loggers import CSVLogger

from diffect.cli.main import main
from diffect.data import batches
from diffect.storage import checkpoints
from diffect.training import build, fit

pytestmark = pytest.mark.slow


class Counting(pl.Callback):
    """A user's callback; counts the steps and the test images that it was shown."""

    steps = 0
    tested = 0

    def on_train_batch_end(self, *_: Any) -> None:
        Counting.steps += 1

    def on_test_batch_end(self, *_: Any) -> None:
        Counting.tested += 1


def config(*overrides: str) -> DictConfig:
    return composed("train", "denoiser=conv", "trainer.accelerator=cpu", *overrides)


def test_callbacks_loggers_and_profiler_stand_beside_ours(tmp_path: Path) -> None:
    cfg = config(
        f"+trainer.callbacks=[{{_target_: {__name__}.Counting}}]",
        f"+trainer.logger={{_target_: pytorch_lightning.loggers.CSVLogger, save_dir: {tmp_path}}}",
        "+trainer.profiler=simple",
        "+trainer.enable_progress_bar=true",
    )
    ours = pl.callbacks.ModelCheckpoint(tmp_path)
    made = fit.trainer(cfg, tmp_path, callbacks=[ours])
    callbacks: list[Any] = made.callbacks  # type: ignore[attr-defined]
    assert ours in callbacks and any(isinstance(callback, Counting) for callback in callbacks)
    assert isinstance(made.logger, CSVLogger) and type(made.profiler).__name__ == "SimpleProfiler"
    assert made.progress_bar_callback is not None and made.num_sanity_val_steps == float("inf")


def test_a_run_shows_its_steps_to_a_users_callback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Counting.steps = Counting.tested = 0
    small = [
        "data.size=64",
        "data.category=brick",
        "data.source.train=24",
        "denoiser=conv",
        "denoiser.network.width=16",
    ]
    small += ["training.steps=2", "training.validate_every=1", "panel=0", "gallery=0", "evaluation.replicates=0"]
    assert main(["train", *small, f"trainer.callbacks=[{{_target_: {__name__}.Counting}}]"]) == 0
    assert Counting.steps == 2 and Counting.tested > 0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["trainer.devices=2"], "trainer.devices is 2; it must be 1, or [N] for the device of that number"),
        (["trainer.devices=-1"], "trainer.devices is -1"),
        (["trainer.devices=auto"], "trainer.devices is auto"),
        (["trainer.devices=[0,1]"], "one run uses one device"),
        (
            ["trainer.strategy=ddp"],
            "trainer.strategy is ddp; it must be auto or single_device: one run uses one device",
        ),
        (["trainer.num_nodes=2"], "trainer.num_nodes is 2; it must be 1"),
        (["trainer.logger=true"], "trainer.logger is true; name the logger"),
        (["trainer.max_stepz=2"], "did you mean trainer.max_steps?"),
    ],
)
def test_what_a_run_cannot_do_is_refused(overrides: list[str], said: str, refused: Callable[..., str]) -> None:
    assert said in refused("train", "denoiser=conv", *overrides)


def test_of_an_interrupted_training_only_its_checkpoints_are_removed(tmp_path: Path) -> None:
    resume = tmp_path / "resume"
    for name in ("last.ckpt", "brick/last.ckpt", "brick/best.ckpt", "grass/best.ckpt", "grass/notes.txt"):
        (resume / name).parent.mkdir(parents=True, exist_ok=True)
        (resume / name).touch()
    fit.forget(resume)
    assert [path.relative_to(resume).as_posix() for path in sorted(resume.rglob("*"))] == ["grass", "grass/notes.txt"]
    (resume / "grass" / "notes.txt").unlink()
    fit.forget(resume)
    assert not resume.exists()


def test_a_checkpoint_is_written_beside_its_place_and_then_renamed(tmp_path: Path) -> None:
    made = fit.trainer(config(), tmp_path)
    (tmp_path / "last.ckpt").write_text("earlier")
    seen = []

    class Watching:  # what stands in the folder while the checkpoint is made
        def __reduce__(self) -> Any:
            seen.append((tmp_path / "last.ckpt").read_text())
            return (int, (1,))

    made.strategy.checkpoint_io.save_checkpoint({"step": Watching()}, tmp_path / "last.ckpt")
    assert seen == ["earlier"] and [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    made.strategy.checkpoint_io.save_checkpoint({"step": 1}, tmp_path / "last.ckpt")
    assert checkpoints.read(tmp_path / "last.ckpt", "") == {"step": 1}


def test_a_worker_that_dies_ends_the_run_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = batches._raw

    def killed(part: Any, row: int) -> torch.Tensor:
        if torch.utils.data.get_worker_info() is not None:
            os.kill(os.getpid(), signal.SIGKILL)  # as when memory runs out
        return raw(part, row)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(batches, "_raw", killed)
    assert main(["train", "data.size=64", "data.category=brick", "denoiser=gaussian", "data.workers=1"]) == 1
    said = capsys.readouterr().err
    assert "a process that loads batches failed" in said and "data.workers is 1; if memory ran out, take" in said


@pytest.mark.parametrize("accelerator", ["auto", "gpu", "cpu", "cuda", "mps"])
@pytest.mark.parametrize("there", ["cuda", "mps", "cpu"])
def test_one_answer_to_which_device(accelerator: str, there: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there == "cuda")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: there == "mps")
    fits = {"cuda": ("auto", "gpu", "cuda"), "mps": ("auto", "gpu", "mps"), "cpu": ()}[there]
    cfg = config(f"trainer.accelerator={accelerator}")
    assert build.device(cfg).type == (there if accelerator in fits else "cpu")


def test_a_device_can_be_chosen_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert build.device(config("trainer.accelerator=gpu", "trainer.devices=[1]")) == torch.device("cuda", 1)


def test_on_this_machine_it_is_lightnings_device(tmp_path: Path) -> None:
    cfg = config("trainer.accelerator=auto")
    assert fit.trainer(cfg, tmp_path).strategy.root_device.type == build.device(cfg).type
