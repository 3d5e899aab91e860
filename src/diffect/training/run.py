"""One run, from the config to its record: data, features, fit, calibration, test, panel, log."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import WandbLogger

from diffect.data.datamodule import DataModule
from diffect.detector import Detector, calibration
from diffect.diffusion.weights import schedule_curves
from diffect.errors import sentence
from diffect.runs import record as records
from diffect.runs import wandb_files
from diffect.storage import checkpoints
from diffect.training import build, finetuning, fit, gallery, panel, provenance, tracking

RESUME = "resume"  # what an interrupted run goes on from


class Run:
    """A run in its folder, where it leaves record, scores.csv, panel.png, gallery/, checkpoint.pt and the W&B log."""

    def __init__(
        self,
        cfg: DictConfig,
        folder: Path,
        signature: str,
        choices: dict[str, str],
        chosen: dict[str, Any] | None = None,
    ) -> None:
        self.cfg, self.folder, self.signature, self.choices = cfg, folder, signature, choices
        self.chosen = chosen or {}  # what the protocol says besides, where the settings were chosen by evidence
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
            "versions": provenance.versions(),
            "commit": provenance.commit(),
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def carry_out(self) -> records.Record:
        """Do it all; a run that fails after its data were found good leaves a record that says why."""
        began = time.monotonic()
        prepare(self.cfg, self.folder)
        with self._phase("data"):
            data = build.open_data(self.cfg)
            self.record |= {
                "categories": data.categories,
                "splits": {**data.describe(), **data.fingerprints()},
                "audit": data.audit(),
            }
        with self._phase("features"):
            representation = build.attach_features(self.cfg, data)
            representation.fit((batch["raw"], batch["label"]) for batch in data.fit_dataloader())
        cleaning = instantiate(self.cfg.outlier_removal)
        if cleaning is not None:
            with self._phase("outlier_removal"):
                self.record["outlier_removal"] = cleaning.clean(self.cfg, data, representation)
                self.record["splits"] |= data.describe()
        detector = build.build(self.cfg, data.categories, data.blank(), representation, self.signature)
        if self.cfg.finetune_from is not None:
            self.record["finetuned_from"] = finetuning.start_from(
                Path(str(self.cfg.finetune_from)).expanduser(), detector
            )
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
            status, reason = ("interrupted", None) if interrupted else ("failed", sentence(error))
            self.record |= {"status": status, "error": reason}
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

    def _fit_and_test(self, detector: Detector, data: DataModule, tracker: Any) -> None:
        logger = WandbLogger(experiment=tracker)
        resumable = self.folder / RESUME
        with self._phase("fit"):
            fit.fit(self.cfg, detector, data, logger, resumable)
        with self._phase("test"):
            reference = calibration.calibrate(detector, data)
            thresholds = detector.set_thresholds(data.calibration_dataloader(), self.cfg.evaluation.conformal_rate)
            fit.test(self.cfg, detector, data, self.folder)
            found = dict(zip(data.categories, detector.tally.evaluations(), strict=True))
        with self._phase("latency"):
            milliseconds = fit.latency(detector, data, self.cfg.evaluation.latency_repeats)
        self._save(detector, thresholds)
        schedule, weight = detector.objective.schedule, detector.objective.weight
        self.record |= {
            "metrics": {category: {**one.metrics, "latency_ms": milliseconds} for category, one in found.items()},
            "intervals": {category: one.intervals for category, one in found.items()},
            "replicates": {category: one.replicates for category, one in found.items()},
            "undefined": {category: one.undefined for category, one in found.items()},
            "levels": detector.tally.by_level.compute(),
            "scores": provenance.scores(detector, data),
            "training": provenance.training(detector),
            "schedule": schedule_curves(type(schedule).__name__, schedule, weight),
            "protocol": provenance.protocol(self.cfg, detector, data, thresholds, reference) | self.chosen,
            "test_reads": 1 + records.test_reads(self.folder, self.record["splits"]["fingerprint"]),
            "device": provenance.device_name(detector.device),
            "wandb": {"id": tracker.id, "mode": "offline" if tracker.offline else "online"},
        }
        records.write_scores(self.folder, self.record)
        with self._phase("panel"):
            picture = panel.draw(detector, data, self.cfg.panel)
            if picture is not None:
                panel.save(picture, self.folder / records.PANEL)
            self.record["gallery"] = gallery.write(detector, data, thresholds, self.cfg.gallery, self.folder)
        tracking.log_pictures(tracker, picture, self.record)

    def _save(self, detector: Detector, thresholds: list[float | None]) -> None:
        """All that scoring needs, in one file."""
        kept = {
            "signature": self.signature,
            "state": detector.scoring_state(),
            "thresholds": thresholds,
            "outlines": detector.outlines,
        }
        checkpoints.write(self.folder / build.CHECKPOINT, kept)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.seconds[name] = time.monotonic() - start


def prepare(cfg: DictConfig, folder: Path) -> None:
    """What comes before any work: refuse what cannot be had, quieten, seed."""
    instantiate(cfg.tracking).online()  # what it refuses, it refuses before any work
    logging.raiseExceptions = False  # a log that cannot be written must not bury the reason under its own
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for said in fit.QUIET:
        warnings.filterwarnings("ignore", message=said)
    fit.trainer(cfg, folder)  # refuses a precision or a device that is not there
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    pl.seed_everything(cfg.seed, verbose=False)
