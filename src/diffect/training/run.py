"""One run, from the config to its record: data, features, outlier removal, build, fit, calibrate, test, record."""

from __future__ import annotations

import contextlib
import logging
import shutil
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import WandbLogger

from diffect.data.datamodule import DataModule
from diffect.detector import calibration
from diffect.detector.module import DetectorModule
from diffect.diffusion.weights import schedule_curves
from diffect.errors import sentence
from diffect.metrics.evaluation import Evaluation
from diffect.runs import record_file, wandb
from diffect.runs.record import (
    Audit,
    Curves,
    HeadTraining,
    ImageScore,
    LevelResult,
    OutlierRemoval,
    Picture,
    Provenance,
    Record,
    Result,
    Splits,
    Tracked,
    Training,
    Tuning,
)
from diffect.storage import checkpoints
from diffect.training import build, finetuning, fit, gallery, panel, protocol, provenance, tracking

RESUME = "resume"  # the folder that an interrupted run goes on from


class Run:
    """A run in its folder, where it leaves record, scores.csv, panel.png, gallery/, checkpoint.pt and the W&B log.

    Args:
        cfg: the config of `train`.
        folder: of the run.
        signature: names the run.
        choices: what was chosen, for the record.
        settings: how the settings were chosen, where not by the config alone.
        tuning: the evidence for that choice.
    """

    def __init__(
        self,
        cfg: DictConfig,
        folder: Path,
        signature: str,
        choices: dict[str, str],
        settings: str | None = None,
        tuning: Tuning | None = None,
    ) -> None:
        self.cfg, self.folder, self.settings = cfg, folder, settings
        config = OmegaConf.to_container(cfg, resolve=True)
        assert isinstance(config, dict)
        self.record = Record(
            status="running",
            signature=signature,
            study=cfg.study,
            seed=cfg.seed,
            choices=choices,
            tuning=tuning,
            provenance=Provenance(
                versions=provenance.versions(),
                commit=provenance.commit(),
                created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            ),
            config={str(key): value for key, value in config.items()},
        )

    def execute(self) -> Record:
        """Do it all; a run that fails after its data were read leaves a record that says why."""
        start = time.monotonic()
        prepare(self.cfg, self.folder)
        data, detector = self._build()
        record_file.write(self.folder, self.record)
        tracker = instantiate(self.cfg.tracking).start(
            self.folder,
            self.record.signature,
            self.record.study,
            [f"{key}={value}" for key, value in self.record.choices.items()],
            self.record.config,
        )
        try:
            self._fit_and_test(detector, data, tracker)
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
            self.record.status = "interrupted" if interrupted else "failed"
            self.record.error = None if interrupted else sentence(error)
            with contextlib.suppress(Exception):  # the first error is the one to report
                self._close(tracker)
            if isinstance(error, OSError | RuntimeError) and shutil.disk_usage(self.folder).free < 2**20:
                raise ValueError(f"cannot write to {self.folder}: the disk is full; free some space") from error
            raise
        self.record.status = "finished"
        self.record.seconds["total"] = time.monotonic() - start
        self._close(tracker)
        shutil.rmtree(self.folder / RESUME, ignore_errors=True)
        return self.record

    def _build(self) -> tuple[DataModule, DetectorModule]:
        """The data with features and without outliers, and the untrained detector."""
        with self._phase("data"):
            data = build.open_data(self.cfg)
            self.record.categories = data.categories
            self.record.fingerprint = data.fingerprints()["fingerprint"]
            self.record.splits = _splits(data)
            self.record.description = {key: text for key, text in data.describe().items() if text}
            self.record.audit = {category: Audit(**found) for category, found in data.audit().items()}
        with self._phase("features"):
            representation = build.attach_features(self.cfg, data)
            representation.fit((batch["raw"], batch["label"]) for batch in data.fit_dataloader())
        removal = instantiate(self.cfg.outlier_removal)
        if removal is not None:
            with self._phase("outlier_removal"):
                self.record.outlier_removal = OutlierRemoval(**removal.clean(self.cfg, data, representation))
                self.record.splits = _splits(data)
        detector = build.build(self.cfg, data.categories, data.blank(), representation, self.record.signature)
        if self.cfg.finetune_from is not None:
            source = Path(str(self.cfg.finetune_from)).expanduser()
            self.record.finetuned_from = finetuning.start_from(source, detector)
        return data, detector

    def _fit_and_test(self, detector: DetectorModule, data: DataModule, tracker: Any) -> None:
        with self._phase("fit"):
            fit.fit(self.cfg, detector, data, WandbLogger(experiment=tracker), self.folder / RESUME)
        with self._phase("test"):
            reference = calibration.calibrate(detector, data)
            rate = self.cfg.evaluation.conformal_rate
            calibrations = calibration.set_thresholds(detector, data.calibration_dataloader(), rate)
            thresholds = [one.threshold for one in calibrations]
            fit.test(self.cfg, detector, data, self.folder)
            evaluations = detector.tally.evaluations()
        with self._phase("latency"):
            milliseconds = fit.latency(detector.predictor, data, self.cfg.evaluation.latency_repeats)
        self._save(detector)
        record = self.record
        record.description |= detector.describe()
        if detector.learned is not None:
            record.description["training"] += _batches(self.cfg, data)
        record.results = _results(detector, data, evaluations, milliseconds)
        record.training = training_of(detector)
        schedule, weight = detector.objective.schedule, detector.objective.weight
        record.schedule = Curves(**schedule_curves(type(schedule).__name__, schedule, weight))
        record.protocol = protocol.describe(self.cfg, detector, data, thresholds, reference)
        if self.settings is not None:
            record.protocol.settings = self.settings
        record.test_reads = 1 + record_file.test_reads(self.folder, record.fingerprint)
        record.provenance.device = provenance.device_name(detector.device)
        record.wandb = Tracked(id=tracker.id, mode="offline" if tracker.offline else "online")
        record_file.write_scores(self.folder, record)
        with self._phase("panel"):
            picture = panel.draw(detector.predictor, data, self.cfg.panel)
            if picture is not None:
                panel.save(picture, self.folder / record_file.PANEL)
            shown = gallery.write(detector, data, thresholds, self.cfg.gallery, self.folder)
            record.gallery = {category: [Picture(**entry) for entry in entries] for category, entries in shown.items()}
        tracking.log_pictures(tracker, picture, record)

    def _save(self, detector: DetectorModule) -> None:
        """All that scoring needs, in one file."""
        checkpoint = {
            "signature": self.record.signature,
            "learned": detector.learned,
            "representation": detector.predictor.representation.identity,
            "state": {name: value.cpu() for name, value in detector.predictor.state_dict().items()},
            "calibrations": [asdict(one) for one in detector.calibrations],
        }
        checkpoints.write(self.folder / build.CHECKPOINT, checkpoint)

    def _close(self, tracker: Any) -> None:
        """Write the record, here and into the W&B log, and end the log."""
        try:
            record_file.write(self.folder, self.record)
            wandb.save(tracker, self.record)
        finally:
            tracker.finish(exit_code=0 if self.record.status == "finished" else 1)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.record.seconds[name] = time.monotonic() - start


def prepare(cfg: DictConfig, folder: Path) -> None:
    """Refuse what cannot run here before any work, quieten the libraries, set threads and seeds."""
    instantiate(cfg.tracking).online()
    logging.raiseExceptions = False  # a log that cannot be written must not hide the error that caused it
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in fit.QUIET:
        warnings.filterwarnings("ignore", message=message)
    fit.trainer(cfg, folder)  # refuses a precision or a device that is not there
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    pl.seed_everything(cfg.seed, verbose=False)


def _batches(cfg: DictConfig, data: DataModule) -> str:
    """What the description of training leaves out: batch size, clipping, precision."""
    clip = cfg.trainer.get("gradient_clip_val")
    clipped = f", gradients clipped at norm {clip:g}" if clip else ""
    return f"; batches hold {data.batch_size} images{clipped}, in {cfg.trainer.precision} precision"


def _splits(data: DataModule) -> Splits:
    return Splits(**data.summary(), contamination_fingerprint=data.fingerprints().get("contamination_fingerprint"))


def _results(
    detector: DetectorModule, data: DataModule, evaluations: list[Evaluation], milliseconds: float
) -> dict[str, Result]:
    """The results by category; `milliseconds` is the latency of one image."""
    levels = detector.tally.by_level.compute()
    return {
        category: Result(
            metrics={**found.metrics, "latency_ms": milliseconds},
            intervals={name: interval for name, interval in found.intervals.items() if interval is not None},
            undefined=found.undefined,
            levels=[LevelResult(log_snr=row.pop("log_snr"), metrics=row) for row in levels.get(category, [])],
            scores=_scores(detector, data, label),
            replicates={name: list(drawn) for name, drawn in found.replicates.items() if drawn is not None},
        )
        for label, (category, found) in enumerate(zip(data.categories, evaluations, strict=True))
    }


def _scores(detector: DetectorModule, data: DataModule, label: int) -> list[ImageScore]:
    """The scores of one category's test images, in the order of the data."""
    rows = ((data.sample(label, row), score) for row, score in sorted(detector.tally.scores[label].items()))
    return [
        ImageScore(name=sample.name, defect=sample.defect, anomalous=sample.anomalous, score=score)
        for sample, score in rows
    ]


def training_of(detector: DetectorModule) -> Training:
    """How training went. Without selection images there are no losses, and the last step is kept.

    What is solved at once takes no step and has no initial loss.
    """
    trained_head = detector.predictor.head
    head = None if trained_head is None else HeadTraining.model_validate(trained_head.summary)
    learns = detector.learner is not None
    steps = detector.optimisation.steps if learns else 0
    losses = detector.losses
    if not losses:
        return Training(steps=steps, step_best=steps, head=head)
    step, best = min(losses[1:] if learns else losses, key=lambda pair: pair[1])
    return Training(
        steps=steps,
        loss_initial=losses[0][1] if learns else None,
        loss_best=best,
        step_best=step,
        losses=[(step, loss) for step, loss in losses],
        head=head,
    )
