"""Fits a fold as `train` does."""

from omegaconf import DictConfig

from diffect.data.datamodule import DataModule
from diffect.detector.calibration import Refit
from diffect.detector.predictor import Predictor
from diffect.training import build


def refit(cfg: DictConfig) -> Refit:
    def fitted(data: DataModule, _: int) -> Predictor:
        representation = build.represent(cfg, data.categories, data.kind)
        representation.fit(data.fit_features())
        detector = build.build(cfg, data.categories, data.blank(), representation, "fold")
        detector.solve(data.fit_dataloader(), data.val_dataloader() if data.splits["selection"] else None)
        return detector.predictor

    return fitted
