"""A detector of 8 x 8 pixels that is made at once, and random batches for it."""

from typing import Any

import torch

from diffect.data.batches import Batch
from diffect.denoisers.base import Network
from diffect.denoisers.learned import LearnedDenoiser
from diffect.denoisers.networks.conv import ConvNet
from diffect.detector.anomaly_map import AnomalyMap
from diffect.detector.calibration import labelled_components
from diffect.detector.module import DetectorModule
from diffect.detector.optimisation import Optimisation
from diffect.diffusion.objective import Objective
from diffect.diffusion.schedules import Cosine
from diffect.diffusion.weights import V
from diffect.representations.pixels import Pixels
from diffect.scorers.denoising import DenoisingError

SIZE = 8
CATEGORIES = ("brick", "grass")


def network(shape: tuple[int, int, int], classes: int, outputs: int) -> Network:
    return ConvNet(shape, classes, outputs, width=16, depth=1, kernel=1)


def make(network: Any = network, signature: str = "0123456789ab", **changes: Any) -> DetectorModule:
    torch.manual_seed(0)
    scorer = changes.pop("scorer", DenoisingError([3], (-1.0, 2.0)))
    return DetectorModule(
        representation=changes.pop("representation", Pixels()),
        denoiser=changes.pop("denoiser", None) or LearnedDenoiser(network, (3, SIZE, SIZE), classes=len(CATEGORIES)),
        scorer=scorer,
        anomaly_map=AnomalyMap(scorer.components, blur=0.5 / SIZE, pool="max"),
        objective=Objective(Cosine(), V()),
        optimisation=changes.pop("optimisation", Optimisation(steps=8, warmup=2, ema=0.9)),
        categories=CATEGORIES,
        blank=torch.zeros(1, 3, SIZE, SIZE, dtype=torch.uint8),
        seed=0,
        signature=signature,
        replicates=20,
        **changes,
    )


def batch(count: int = 6, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (count, 3, SIZE, SIZE), generator=generator).to(torch.uint8)
    masks = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    masks[::2, 2:4, 3:6] = True
    return {
        "raw": images.float() / 255,
        "label": torch.arange(count) // 2 % 2,
        "key": torch.arange(count) * 31 + seed,
        "image": images,
        "mask": masks,
        "valid": torch.ones(count, SIZE, SIZE, dtype=torch.bool),
        "anomalous": masks.any(-1).any(-1),
        "has_mask": torch.ones(count, dtype=torch.bool),
        "index": torch.arange(count) + 100,
    }


def rows(whole: Batch, order: Any) -> Batch:
    return {name: value[order] for name, value in whole.items()}


def calibrate(detector: DetectorModule, batches: list[Batch]) -> None:
    detector.predictor.anomaly_map.calibrate(labelled_components(detector.predictor, batches))


def calibrated() -> DetectorModule:
    """A module of random weights, its statistics and its map fitted on random images."""
    detector = make().eval()
    with torch.no_grad():
        for parameter in detector.averaged.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    detector.predictor.representation.fit([(batch(16)["raw"], None)])
    calibrate(detector, [batch(12, seed=4)])
    return detector
