"""One run, from the config to its record: data, features, fit, calibration, test, panel, log."""

from __future__ import annotations

import contextlib
import logging
import pickle
import platform
import shutil
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.loggers import WandbLogger

import diffect
from diffect import assembly, panel
from diffect.data.datamodule import DataModule
from diffect.detector import Detector
from diffect.runs import record as records
from diffect.runs import wandb_files
from diffect.schedules import curves
from diffect.weights import effective_weight

RESUME = "resume"  # what an interrupted run goes on from
VERSIONS = (
    "diffect",
    "torch",
    "pytorch-lightning",
    "torchmetrics",
    "diffusers",
    "hydra-core",
    "wandb",
    "numpy",
    "scikit-image",
)
# What Lightning remarks on in every short run, and is meant so.
QUIET = (
    ".*does not have many workers.*",
    ".*Checkpoint directory.*",
    ".*LeafSpec.*",
    ".*smaller than the logging interval.*",
    ".*Total length of `DataLoader` across ranks is zero.*",
)


class Run:
    """A run in its folder, where it leaves record.json, scores.csv, panel.png, checkpoint.pt and the W&B log."""

    def __init__(self, cfg: DictConfig, folder: Path, signature: str, choices: dict[str, str]) -> None:
        self.cfg, self.folder, self.signature, self.choices = cfg, folder, signature, choices
        self.seconds: dict[str, float] = {}
        config = OmegaConf.to_container(cfg, resolve=True)
        assert isinstance(config, dict)
        self.config = {str(key): value for key, value in config.items()}
        self.record: records.Record = {
            "format": records.FORMAT,
            "status": "running",
            "error": None,
            "signature": signature,
            "study": cfg.study,
            "seed": cfg.seed,
            "choices": choices,
            "config": self.config,
            "versions": {name: version(name) for name in VERSIONS} | {"python": platform.python_version()},
            "commit": _commit(),
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def carry_out(self) -> records.Record:
        """Do it all; a run that fails after its data were found good leaves a record that says why."""
        began = time.monotonic()
        self._prepare()
        with self._phase("data"):
            data = assembly.open_data(self.cfg)
            self.record |= {"categories": data.categories, "splits": data.describe(), "audit": data.audit()}
        with self._phase("features"):
            representation = assembly.attach_features(self.cfg, data)
            representation.fit(batch["raw"] for batch in data.fit_dataloader())
        detector = assembly.build(self.cfg, data.categories, representation, self.signature)
        records.write(self.folder, self.record)
        tracker = instantiate(self.cfg.tracking).start(
            self.folder,
            self.signature,
            self.cfg.study,
            [f"{k}={v}" for k, v in self.choices.items()],
            self.config,
        )
        try:
            self._fit_and_test(detector, data, tracker)
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
            self.record |= {"status": "running" if interrupted else "failed", "error": str(error)}
            with contextlib.suppress(Exception):  # the first failure is the one to tell
                self._close(tracker)
            if isinstance(error, OSError | RuntimeError) and shutil.disk_usage(self.folder).free < 2**20:
                raise ValueError(f"cannot write to {self.folder}: the disk is full; free some space") from error
            raise
        self.seconds["total"] = time.monotonic() - began
        self.record |= {"status": "finished", "seconds": self.seconds}
        self._close(tracker)
        shutil.rmtree(self.folder / RESUME, ignore_errors=True)
        return self.record

    def _close(self, tracker: Any) -> None:
        """Write the record, here and into the W&B log, and end the log."""
        try:
            records.write(self.folder, self.record)
            tracker.summary.update(wandb_files.to_summary(self.record))
        finally:
            tracker.finish(exit_code=0 if self.record["status"] == "finished" else 1)

    def _prepare(self) -> None:
        every, steps = self.cfg.training.validate_every, self.cfg.training.steps
        if every < 1 or steps % every:
            raise ValueError(
                f"training.validate_every is {every}; it must divide training.steps, {steps}, so that the last step "
                "is looked at too"
            )
        instantiate(self.cfg.tracking).online()  # what it refuses, it refuses before any work
        logging.raiseExceptions = False  # a log that cannot be written must not bury the reason under its own
        logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
        for said in QUIET:
            warnings.filterwarnings("ignore", message=said)
        if self.cfg.threads:
            torch.set_num_threads(self.cfg.threads)
        pl.seed_everything(self.cfg.seed, verbose=False)

    def _fit_and_test(self, detector: Detector, data: DataModule, tracker: Any) -> None:
        logger = WandbLogger(experiment=tracker)
        resumable = self.folder / RESUME
        with self._phase("fit"):
            fit(self.cfg, detector, data, logger, resumable)
        has_selection = bool(data.splits["selection"])
        with self._phase("test"):
            detector.calibrate(data.val_dataloader() if has_selection else data.fit_dataloader())
            thresholds = detector.set_thresholds(data.calibration_dataloader(), self.cfg.evaluation.conformal_rate)
            _trainer(self.cfg, self.folder, precision="32-true").test(detector, datamodule=data, verbose=False)
            evaluations = detector.evaluations()
        with self._phase("latency"):
            milliseconds = latency(detector, data, self.cfg.evaluation.latency_repeats)
        self._save(detector, thresholds)
        names = data.categories
        self.record |= {
            "metrics": {
                name: {**found.metrics, "latency_ms": milliseconds}
                for name, found in zip(names, evaluations, strict=True)
            },
            "intervals": {name: found.intervals for name, found in zip(names, evaluations, strict=True)},
            "replicates": {name: found.replicates for name, found in zip(names, evaluations, strict=True)},
            "undefined": {name: found.undefined for name, found in zip(names, evaluations, strict=True)},
            "scores": _scores(detector, data),
            "training": _training(detector),
            "schedule": _schedule(self.cfg, detector),
            "protocol": _protocol(self.cfg, data, thresholds),
            "device": _device_name(detector.device),
            "wandb": {"id": tracker.id, "mode": "offline" if tracker.offline else "online"},
        }
        records.write_scores(self.folder, self.record)
        with self._phase("panel"):
            picture = panel.draw(detector, data, self.cfg.panel)
            if picture is not None:
                panel.save(picture, self.folder / records.PANEL)
        _log_pictures(tracker, picture, self.record)

    def _save(self, detector: Detector, thresholds: list[float | None]) -> None:
        """All that scoring needs, in one file that `torch.load(weights_only=True)` reads."""
        path = self.folder / assembly.CHECKPOINT
        temporary = path.with_name(f".{path.name}.tmp")
        kept = {"signature": self.signature, "state": detector.scoring_state(), "thresholds": thresholds}
        torch.save(kept, temporary)
        temporary.replace(path)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start


def fit(cfg: DictConfig, detector: Detector, data: DataModule, logger: WandbLogger | bool, resumable: Path) -> None:
    """Train, going on from `resumable`/last.ckpt where there is one; leave the detector at its best selection loss."""
    watched = bool(data.splits["selection"])
    keep = ModelCheckpoint(
        dirpath=resumable,
        filename="best",
        monitor="selection_loss" if watched else None,
        save_last=True,
        every_n_epochs=1,
        enable_version_counter=False,
    )
    trainer = _trainer(cfg, resumable.parent, logger=logger, callbacks=[keep])
    last, best = resumable / "last.ckpt", resumable / "best.ckpt"
    resumed = last.is_file()
    try:
        if resumed:
            _weights(last)
        trainer.fit(detector, datamodule=data, ckpt_path=last if resumed else None, weights_only=True)
    except (RuntimeError, KeyError, TypeError) as error:
        if not resumed or trainer.global_step:
            raise
        raise _unreadable(last, error) from error
    if watched:
        try:
            detector.load_state_dict(_weights(best))
        except RuntimeError as error:
            raise _unreadable(best, error) from error


def _weights(path: Path) -> dict[str, torch.Tensor]:
    """The state of a training checkpoint, read with `weights_only`: nothing that it may hold is executed."""
    try:
        weights: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise _unreadable(path, error) from error
    return weights


def _unreadable(path: Path, error: Exception) -> ValueError:
    reason = str(error).split("\n")[0] or type(error).__name__
    if isinstance(error, pickle.UnpicklingError):
        reason = "it holds more than tensors and numbers, or is damaged"
    return ValueError(f"the checkpoint {path} cannot be read ({reason}); delete {path.parent} to start this run anew")


def latency(detector: Detector, data: DataModule, repeats: int) -> float:
    """Median milliseconds from one decoded image (uint8, on the CPU) to its map (on the CPU), batch 1."""
    batch = data.test_dataloader().dataset.__getitems__([0])  # type: ignore[attr-defined]
    detector.eval()
    times = []
    with torch.no_grad():
        for _ in range(repeats + 1):
            start = time.perf_counter()
            here = {name: value.to(detector.device) for name, value in batch.items()}
            here["raw"] = detector.representation.extract(here["image"])
            detector.judge(here)[0].cpu()
            times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[1:])


def _trainer(cfg: DictConfig, folder: Path, **changes: Any) -> pl.Trainer:
    options: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": "callbacks" in changes,
        "enable_progress_bar": sys.stderr.isatty(),
        "default_root_dir": folder,
        "num_sanity_val_steps": -1,  # the whole selection set: the loss of the initialisation
    }
    trainer: pl.Trainer = instantiate(cfg.trainer, **(options | changes))
    return trainer


def _scores(detector: Detector, data: DataModule) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for index, category in enumerate(data.categories):
        rows[category] = []
        for row, score in sorted(detector.scores[index].items()):
            sample = data.sample(index, row)
            rows[category].append(
                {"name": sample.name, "defect": sample.defect, "anomalous": sample.anomalous, "score": score}
            )
    return rows


def _training(detector: Detector) -> dict[str, Any]:
    """How training went. Without a selection set there are no losses, and the last step is the one kept."""
    losses = detector.losses
    steps = detector.optimisation.steps
    if not losses:
        return {"steps": steps, "loss_initial": None, "loss_best": None, "step_best": steps, "losses": []}
    step, best = min(losses[1:], key=lambda pair: pair[1])
    return {
        "steps": steps,
        "loss_initial": losses[0][1],
        "loss_best": best,
        "step_best": step,
        "losses": [list(pair) for pair in losses],
    }


def _schedule(cfg: DictConfig, detector: Detector) -> dict[str, Any]:
    schedule, weight = detector.objective.schedule, detector.objective.weight
    found = curves(schedule)
    found["weight"] = effective_weight(found["log_snr"], schedule, weight)
    name = cfg.schedule._target_.rsplit(".", 1)[-1]
    return {"name": name, **{key: values.tolist() for key, values in found.items()}}


def _protocol(cfg: DictConfig, data: DataModule, thresholds: list[float | None]) -> dict[str, str]:
    """How each setting was chosen, in words."""
    selection = "the lowest loss on the selection normals at fixed noise"
    if not data.splits["selection"]:
        selection = "the last step: too few images for a selection set"
    promised = f"held-out calibration normals for a promised false-positive rate of {cfg.evaluation.conformal_rate:g}"
    if any(value is None for value in thresholds):
        promised += "; null where a category has too few of them (19 for 5%)"
    return {
        "checkpoint": selection,
        "component_scale": "the mean on the selection normals",
        "threshold": promised,
        "settings": "from the config, the same for all categories; none was chosen on the test set",
        "test_set": "read once, after all of it",
    }


def _log_pictures(tracker: Any, picture: Any, record: records.Record) -> None:
    import wandb

    logged: dict[str, Any] = {}
    if picture is not None:
        logged["panel"] = wandb.Image(picture)
    for category, rows in record["scores"].items():
        labels = [int(row["anomalous"]) for row in rows]
        if 0 < sum(labels) < len(labels):
            logged[f"roc/{category}"] = _roc(labels, [row["score"] for row in rows])
        for name, value in record["metrics"][category].items():
            if value is not None:
                tracker.summary[f"{category}/{name}"] = value
    tracker.log(logged)


def _roc(labels: list[int], scores: list[float]) -> Any:
    import wandb
    from matplotlib.figure import Figure

    from diffect.metrics.curves import image_curve

    fp, tp = (curve[0] for curve in image_curve(scores, labels))
    axes = (figure := Figure(figsize=(4, 4))).subplots()
    axes.plot([0, *(fp / fp[-1])], [0, *(tp / tp[-1])])
    axes.set(xlabel="false-positive rate", ylabel="true-positive rate", xlim=(0, 1), ylim=(0, 1.01))
    return wandb.Image(figure)


def _commit() -> str | None:
    """The commit of the checkout that diffect runs from, `+` if it has changes; None outside a checkout."""
    place = Path(diffect.__file__).parent
    try:
        git = ["git", "-C", str(place)]
        head = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10, check=True)
        dirty = subprocess.run([*git, "status", "--porcelain", "."], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return head.stdout.strip() + ("+" if dirty.stdout.strip() else "")


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"{device.type} {platform.machine()}, {torch.get_num_threads()} threads"
