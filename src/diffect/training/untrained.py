"""The untrained twin: the same detector before its first step of training, calibrated and tested beside it."""

import copy

import torch
from torch import nn

from diffect.data.batches import Passes
from diffect.data.datamodule import DataModule
from diffect.denoisers.base import ClosedForm
from diffect.detector.module import DetectorModule
from diffect.detector.predictor import Predictor


def twin(detector: DetectorModule, data: DataModule) -> Predictor | None:
    """A copy of a detector's predictor, to be made before training; None where nothing learns by steps.

    The seed gives the initial weights, so an interrupted run that goes on has the same twin. That of a fine-tuned run
    has the weights it starts from. The representation with its frozen backbone and a closed form are shared: they are
    not trained by steps. A head on a closed form has a twin only if there are selection images to scale its map on: a
    map that is scaled by fits to folds is not that of an untrained head.
    """
    predictor = detector.predictor
    if detector.learner is None and (predictor.head is None or not data.splits["selection"]):
        return None
    shared: list[nn.Module] = [predictor.representation]
    if isinstance(predictor.denoiser, ClosedForm):
        shared.append(predictor.denoiser)
    return copy.deepcopy(predictor, {id(part): part for part in shared})


@torch.no_grad()
def complete(predictor: Predictor, data: DataModule, seed: int) -> None:
    """Fit what a twin has beside weights, its scorer and the scale of its head, on the images that training takes.

    Args:
        predictor: the twin, on its device; a closed form is fitted.
        data: with its splits.
        seed: of the run.
    """
    predictor.eval()
    held_out = data.normal_dataloader("selection" if data.splits["selection"] else "fit")
    predictor.scorer.fit(predictor.denoiser, Passes(held_out, predictor.encode))
    if predictor.head is not None:
        components = [predictor.components(batch, with_head=False).cpu() for batch in held_out]
        predictor.head.start(torch.cat(components), seed)
