"""From the folder of a finished run to its detector."""

from pathlib import Path

from omegaconf import DictConfig

from diffect.data.batches import zeros
from diffect.data.decode import Depth
from diffect.data.regions import Regions
from diffect.data.sample import Kind
from diffect.detector.calibration import Calibration
from diffect.detector.detector import Detector
from diffect.runs import record_file
from diffect.storage import checkpoints
from diffect.training import build


def load(run: str | Path) -> Detector:
    """The detector of the finished run in a folder, such as outputs/single/0123456789ab.

    Nothing in the checkpoint is executed. ValueError where the run is not finished, or where the checkpoint cannot be
    read or belongs to another run.
    """
    folder, record = record_file.finished_run("run", run)
    cfg, categories, splits = DictConfig(record.config), record.categories, record.splits
    path = folder / record_file.CHECKPOINT
    kept = checkpoints.read(path, f"to train the run again, delete the folder {folder}")
    if kept.get("signature") != record.signature:
        raise ValueError(
            f"{path} belongs to run {kept.get('signature')}, the record beside it to run {record.signature}"
        )
    kind = Kind(**splits.kind.model_dump())
    blank, representation = zeros(kind, splits.canvas), build.represent(cfg, categories, kind)
    if kept.get("representation") != representation.identity:
        raise ValueError(
            f"the backbone of the run in {folder} was {kept.get('representation')} and is now "
            f"{representation.identity}: put the old weights back, or train again"
        )
    predictor = build.build(cfg, categories, blank, representation, record.signature).predictor
    try:
        predictor.load_state_dict(kept["state"])
        calibrations = [Calibration(**one) for one in kept["calibrations"]]
    except (RuntimeError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise ValueError(f"{path} does not fit the config in {record_file.RECORD}: {reason}") from error
    predictor.to(build.device(cfg))
    # As in training: if they were taken from a batch, a score would depend on the other images in it.
    regions = Regions(cfg.data.get("look_at"), cfg.data.get("ignore"))
    depths = [Depth(splits.categories[one].grey_bits, splits.categories[one].value_range) for one in categories]
    return Detector(predictor, categories, calibrations, kind, str(cfg.data.get("aspect", "pad")), depths, regions)
