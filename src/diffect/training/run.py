"""One run, from the config to its record: data, features, outlier removal, build, fit, calibrate, test, record."""

import contextlib
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from diffect.data.datamodule import DataModule
from diffect.detector import calibration
from diffect.detector.evaluation import Tally
from diffect.detector.module import DetectorModule
from diffect.detector.predictor import Predictor
from diffect.diffusion.weights import schedule_curves
from diffect.errors import sentence
from diffect.representations.base import Representation
from diffect.runs import record_file
from diffect.runs.record import Audit, Curves, Record, Splits, Tuning
from diffect.storage import checkpoints
from diffect.training import build, finetuning, fingerprint, fit, pictures, recording, untrained
from diffect.training.tracking import Tracker


class Run:
    """A run in its folder, where it leaves record, scores.csv, panel.png, gallery/, checkpoint.pt and the W&B log.

    Args:
        cfg: the config of `train`.
        folder: of the run.
        signature: names the run.
        choices: what was chosen, for the record.
        settings: how the settings were chosen, where not by the config alone.
        tuning: the evidence for that choice.
        parent: signature of the run that normal images are added to.
    """

    def __init__(
        self,
        cfg: DictConfig,
        folder: Path,
        signature: str,
        choices: dict[str, str],
        settings: str | None = None,
        tuning: Tuning | None = None,
        parent: str | None = None,
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
            parent=parent,
            provenance=recording.provenance(),
            config={str(key): value for key, value in config.items()},
            without_effect=fingerprint.without_effect(cfg),
        )

    def execute(self) -> Record:
        """Do it all; a run that fails after its data were read leaves a record that says why."""
        start = time.monotonic()
        prepare(self.cfg, self.folder)
        data, representation = self._read()
        detector = self._build(data, representation)
        record_file.write(self.folder, self.record)
        tracker = instantiate(self.cfg.tracking).start(self.folder, self.record)
        try:
            folds = self._fit(detector, data, tracker)
            self._test(detector, data, folds)
            self._save(detector)
            self._draw(detector, data, tracker)
        except BaseException as error:
            interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
            self.record.status = "interrupted" if interrupted else "failed"
            self.record.error = None if interrupted else sentence(error)
            with contextlib.suppress(Exception):  # the first error is the one to report
                record_file.write(self.folder, self.record)
            tracker.finish(self.record)
            raise
        self.record.status, self.record.seconds["total"] = "finished", time.monotonic() - start
        record_file.write(self.folder, self.record)
        tracker.finish(self.record)
        fit.forget(self.folder / record_file.RESUME)
        return self.record

    def _read(self) -> tuple[DataModule, Representation]:
        """The data with their features and without outliers, and the fitted representation."""
        record = self.record
        with self._phase("data"):
            data = build.open_data(self.cfg)
            record.categories = data.categories
            record.fingerprint = data.fingerprints()["fingerprint"]
            record.description = {key: text for key, text in data.describe().items() if text}
            record.audit = {category: Audit(**audit) for category, audit in data.audit().items()}
        with self._phase("features"):
            representation = build.attach_features(self.cfg, data)
            representation.fit(data.fit_features())
        removal = instantiate(self.cfg.outlier_removal)
        if removal is not None:
            with self._phase("outlier_removal"):
                record.outlier_removal = removal.clean(self.cfg, data, representation)
                record.description["outlier_removal"] = removal.describe()
        contamination = data.fingerprints().get("contamination_fingerprint")
        record.splits = Splits(**data.summary(), contamination_fingerprint=contamination)
        return data, representation

    def _build(self, data: DataModule, representation: Representation) -> DetectorModule:
        """The untrained detector, or one with the weights of another run."""
        detector = build.build(self.cfg, data.categories, data.blank(), representation, self.record.signature)
        if self.cfg.finetune_from is not None:
            source = Path(str(self.cfg.finetune_from)).expanduser()
            self.record.finetuned_from = finetuning.start_from(source, detector)
            self.record.description["finetuning"] = finetuning.describe(self.record.finetuned_from)
        return detector

    def _fit(self, detector: DetectorModule, data: DataModule, tracker: Tracker) -> list[calibration.Fold]:
        """Fit without each fold of the fit images, whose scores join those of calibration, and then the detector."""
        record, evaluation = self.record, self.cfg.evaluation
        number = calibration.number_of_folds(detector.predictor, data, evaluation.folds)
        with self._phase("folds"):  # before the fit, so that no two fits are in memory at once
            folds = calibration.cross_fit(detector.predictor, data, self._refit, number)
        twin = untrained.twin(detector, data) if evaluation.untrained else None
        with self._phase("fit"):
            fit.fit(self.cfg, detector, data, tracker, self.folder / record_file.RESUME)
        if twin is not None:
            untrained.complete(twin.to(detector.device), data, self.cfg.seed)
            detector.untrained = Tally(twin, data.categories, evaluation.replicates, levels=False)
        record.training = recording.training(detector)
        record.description |= detector.describe()
        if detector.learned is not None:
            record.description["training"] += _batches(self.cfg, data)
        schedule, weight = detector.objective.schedule, detector.objective.weight
        record.schedule = Curves(**schedule_curves(type(schedule).__name__, schedule, weight))
        record.provenance.device = recording.device_name(detector.device)
        record.wandb = tracker.tracked
        return folds

    def _refit(self, data: DataModule, fold: int) -> Predictor:
        """A predictor that is fitted to the data without a fold as the run's own is to all, from the same start."""
        pl.seed_everything(self.cfg.seed, verbose=False)
        representation = build.represent(self.cfg, data.categories, data.kind)
        representation.fit(data.fit_features())
        detector = self._build(data, representation)
        fit.fit(self.cfg, detector, data, None, self.folder / record_file.RESUME / f"fold{fold}")
        return detector.predictor

    def _test(self, detector: DetectorModule, data: DataModule, folds: list[calibration.Fold]) -> None:
        """Calibrate, then read the test set, once."""
        record, evaluation = self.record, self.cfg.evaluation
        with self._phase("test"):
            reference = calibration.calibrate(detector.predictor, data, folds)
            if detector.untrained is not None:
                calibration.calibrate(detector.untrained.predictor, data)
            detector.calibrations = calibration.calibrations(
                detector.predictor,
                data.normal_dataloader("calibration"),
                len(data.categories),
                evaluation.conformal_rate,
                folds,
            )
            fit.test(self.cfg, detector, data, self.folder)
        with self._phase("latency"):
            milliseconds = fit.latency(detector.predictor, data, evaluation.latency_repeats)
        record.results = recording.test(detector, data, milliseconds)
        record.protocol = recording.protocol(evaluation.conformal_rate, detector, data, reference, len(folds))
        if self.settings is not None:
            record.protocol.settings = self.settings
        record.test_reads = 1 + record_file.test_reads(self.folder, record.fingerprint)
        record_file.write_scores(self.folder, record)

    def _draw(self, detector: DetectorModule, data: DataModule, tracker: Tracker) -> None:
        with self._phase("panel"):
            panel = pictures.panel(detector.predictor, data, self.cfg.panel)
            if panel is not None:
                pictures.save(panel, self.folder / record_file.PANEL)
            count, tested = self.cfg.gallery, self.record.results
            self.record.gallery = pictures.gallery(detector, data, tested, count, self.folder)
        tracker.log_results(panel, self.record)

    def _save(self, detector: DetectorModule) -> None:
        """All that scoring needs, in one file."""
        checkpoint = {
            "signature": self.record.signature,
            "learned": detector.learned,
            "representation": detector.predictor.representation.identity,
            "state": {name: value.cpu() for name, value in detector.predictor.state_dict().items()},
            "calibrations": [asdict(one) for one in detector.calibrations],
        }
        checkpoints.write(self.folder / record_file.CHECKPOINT, checkpoint)

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        except (RuntimeError, ValueError, OSError) as error:
            if "DataLoader worker" not in str(error):
                raise
            reason, workers = str(error).strip().splitlines()[-1], self.cfg.data.get("workers")
            raise ValueError(
                f"a process that loads batches failed ({reason}): data.workers is {workers}; if memory ran out, take "
                "fewer, or 0"
            ) from error
        self.record.seconds[name] = time.monotonic() - start


def prepare(cfg: DictConfig, folder: Path) -> None:
    """Refuse what cannot run here before any work, quieten the libraries, set threads and seeds."""
    instantiate(cfg.tracking).available()
    logging.raiseExceptions = False  # a log that cannot be written must not hide the error that caused it
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in fit.QUIET:
        warnings.filterwarnings("ignore", message=message)
    fit.trainer(cfg, folder)  # refuses a precision or a device that is not there
    if cfg.threads:
        torch.set_num_threads(cfg.threads)
    pl.seed_everything(cfg.seed, verbose=False)


def _batches(cfg: DictConfig, data: DataModule) -> str:
    """What the description of training leaves out: images in a batch, clipping, precision."""
    clip = cfg.trainer.get("gradient_clip_val")
    clipped = f", gradients clipped at norm {clip:g}" if clip else ""
    images = "" if cfg.training.cells else f"; batches hold {data.batch_size} images"
    return f"{images}{clipped}, in {cfg.trainer.precision} precision"
