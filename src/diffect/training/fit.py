"""Lightning's part of a run: training that can be interrupted, the trainers, and how long one image takes."""

import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.callbacks import Callback, ModelCheckpoint
from pytorch_lightning.loggers import Logger
from pytorch_lightning.plugins.io import TorchCheckpointIO

from diffect.data.batches import Loader, Passes
from diffect.data.datamodule import DataModule
from diffect.detector.head import Examples
from diffect.detector.module import DetectorModule
from diffect.detector.predictor import Predictor
from diffect.representations.missing import filled
from diffect.storage import checkpoints
from diffect.training.build import device
from diffect.training.cells import CellBatches

# Lightning warns of these in every short run; they are intended.
QUIET = (
    ".*does not have many workers.*",
    ".*Checkpoint directory.*",
    ".*LeafSpec.*",
    ".*smaller than the logging interval.*",
    ".*could not find the monitored key.*",  # right after resuming
    ".*was called before the ``update`` method.*",  # where nothing is tested
    ".*Total length of `DataLoader` across ranks is zero.*",
)


LAST, BEST = "last.ckpt", "best.ckpt"  # of an interrupted training


class WholeCheckpoints(TorchCheckpointIO):
    """Checkpoints that are written whole or not at all; Lightning copies them from the system's temporary folder."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        checkpoints.write(Path(path), checkpoint)


def fit(cfg: DictConfig, detector: DetectorModule, data: DataModule, logger: Logger | None, resumable: Path) -> None:
    """Train what learns by steps, solve what is solved at once, then the head; leave all on the trainer's device."""
    if detector.learner is not None:
        _train(cfg, detector, data, logger, resumable)
    detector.to(device(cfg))
    held = data.val_dataloader() if data.splits["selection"] else None
    detector.solve(data.fit_dataloader(), held)
    head = detector.predictor.head
    if head is not None:
        copies = data.synthetic("fit", head.copies, head.kinds, cfg.seed)
        train_head(detector.predictor, data.fit_dataloader(), copies, held, cfg.seed)
    if detector.learner is None and held is not None and logger is not None:
        detector.losses = [(0, detector.selection_loss(held))]
        logger.log_metrics({"selection_loss": detector.losses[0][1]}, step=0)


def test(cfg: DictConfig, detector: DetectorModule, data: DataModule, folder: Path) -> None:
    """Score the test set, if there is one, in full precision."""
    if data.splits["test"]:
        trainer(cfg, folder, precision="32-true").test(detector, datamodule=data, verbose=False)
    detector.to(device(cfg))  # Lightning leaves it on the CPU, where latency would be another machine's


def _train(cfg: DictConfig, detector: DetectorModule, data: DataModule, logger: Logger | None, resumable: Path) -> None:
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
    fitter = trainer(cfg, resumable.parent, logger=logger, callbacks=[keep])
    last, best = resumable / LAST, resumable / BEST
    cure = f"delete {resumable} to start this run again"
    resumed = last.is_file()
    if resumed:
        checkpoints.read(last, cure)
    loaders: dict[str, Any] = {"datamodule": data}
    if detector.optimisation.cells is not None:
        cells = _cells(detector, data, detector.optimisation.cells, lambda: fitter.current_epoch)
        loaders = {"train_dataloaders": cells, "val_dataloaders": data.val_dataloader()}
    try:
        fitter.fit(detector, **loaders, ckpt_path=last if resumed else None, weights_only=True)
    except SystemExit as stop:
        # Lightning turns Ctrl-C into exit(1), which would pass for a failure.
        if fitter.interrupted:
            raise KeyboardInterrupt from stop
        raise
    except (RuntimeError, KeyError, TypeError) as error:
        if not resumed or fitter.global_step:
            raise
        raise ValueError(f"the checkpoint {last} does not fit this run; {cure}") from error
    if watched:
        try:
            detector.load_state_dict(checkpoints.read(best, cure)["state_dict"])
        except (RuntimeError, KeyError) as error:
            raise ValueError(f"the checkpoint {best} does not fit this run; {cure}") from error


def _cells(detector: DetectorModule, data: DataModule, size: int, epoch: Callable[[], int]) -> CellBatches:
    """Training batches of `size` single cells of the fit set."""
    encoded = Passes(data.fit_dataloader(), detector.predictor.normal_cells)
    return CellBatches.of(encoded, len(data.categories), size, data.batches_per_epoch, data.seed, epoch)


def forget(resumable: Path) -> None:
    """Remove the checkpoints of interrupted trainings below a folder, and the folders that are empty then."""
    for path in [*sorted(resumable.rglob("*"), reverse=True), resumable]:  # what is in a folder comes before it
        with contextlib.suppress(OSError):  # a folder with something else in it
            if path.is_dir():
                path.rmdir()
            elif path.name in (LAST, BEST):
                path.unlink()


@torch.no_grad()
def latency(predictor: Predictor, data: DataModule, repeats: int) -> float:
    """Median milliseconds from one decoded image (uint8, on the CPU) to its map (on the CPU), batch 1."""
    batch = (data.test_dataloader() if data.splits["test"] else data.fit_dataloader()).batch([0])
    predictor.eval()
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        predictor(batch["image"], batch["label"], batch["valid"]).map.cpu()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[1:])


def trainer(
    cfg: DictConfig, folder: Path, logger: Logger | None = None, callbacks: Sequence[Callback] = (), **changes: Any
) -> pl.Trainer:
    """Lightning's Trainer as the config has it, with our logger and callbacks beside those that the config names."""
    options: dict[str, Any] = {
        "enable_progress_bar": sys.stderr.isatty(),
        "default_root_dir": folder,
        "num_sanity_val_steps": -1,  # the whole selection set: the loss of the initialisation
    }
    options.update(OmegaConf.to_container(cfg.trainer, resolve=True))  # type: ignore[arg-type]
    loggers = [*([logger] if logger else []), *_parts(options.pop("logger", None))]
    together = [*callbacks, *_parts(options.pop("callbacks", None))]
    plugins = [WholeCheckpoints(), *_parts(options.pop("plugins", None))]
    made: pl.Trainer = instantiate(
        OmegaConf.create({"trainer": options}).trainer,  # so that errors name the key
        logger=loggers or False,
        callbacks=together,
        plugins=plugins,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in together),
        **changes,
    )
    return made


def _parts(given: Any) -> list[Any]:
    """The objects of one part of a config, of a list of them, or of none."""
    return [instantiate(part) for part in (given if isinstance(given, list) else [given] if given else [])]


@torch.no_grad()
def train_head(predictor: Predictor, normal: Loader, defective: Loader, held_out: Loader | None, seed: int) -> None:
    """Train the head on fit images and on their copies with synthetic defects.

    Components are standardised as on `held_out`, normal images that the denoiser has not seen, if there are any.
    """
    assert predictor.head is not None
    predictor.eval()
    seen, copies = _examples(predictor, normal), _examples(predictor, defective)
    reference = seen if held_out is None else _examples(predictor, held_out)
    predictor.head.fit(seen, copies, reference.components, seed)


def _examples(predictor: Predictor, loader: Loader) -> Examples:
    """What the head learns from: components are kept on the CPU, x0 is read batch by batch."""
    components, shares = [], []
    for batch in loader:
        components.append(filled(predictor.components(batch, with_head=False)).cpu())
        height, width = components[-1].shape[-2:]
        shares.append(F.adaptive_avg_pool2d(batch["mask"].float()[:, None], (height, width)))
    return Examples(torch.cat(components), torch.cat(shares), lambda positions: predictor.x0(loader.batch(positions)))
