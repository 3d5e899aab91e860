"""From a composed config to the objects of a run: data, representation, denoiser, scorer, detector."""

from collections.abc import Sequence

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig
from torch import Tensor

from diffect.data.datamodule import DataModule
from diffect.data.sample import Kind
from diffect.data.tiles import Tiles
from diffect.denoisers.base import Denoiser, Learner
from diffect.detector.module import DetectorModule
from diffect.detector.optimisation import Optimisation
from diffect.diffusion.objective import Objective
from diffect.representations.base import Representation
from diffect.scorers.base import Scorer
from diffect.training import contracts


def open_data(cfg: DictConfig) -> DataModule:
    """The data module, set up: scanned, checked, decoded, cut into fit, selection, calibration and test."""
    data: DataModule = instantiate(cfg.data)
    contracts.check_source(data.source, data.categories[0])
    data.setup()
    return data


def represent(cfg: DictConfig, categories: Sequence[str], kind: Kind) -> Representation:
    """The representation of a run of these categories and this kind of samples, not yet fitted."""
    made: Representation = instantiate(cfg.representation, classes=len(categories), channels=kind.channels)
    return made


def attach_features(cfg: DictConfig, data: DataModule) -> Representation:
    """The representation, and the data with the features of its frozen stage, computed or taken from the cache."""
    representation = represent(cfg, data.categories, data.kind)
    attach(data, representation, device(cfg))
    return representation


def attach(data: DataModule, representation: Representation, here: torch.device) -> None:
    """Attach the features of a representation to the data, computed on a device."""
    data.attach(representation.identity, lambda images: representation.extract(images.to(here)).cpu())


def build(
    cfg: DictConfig,
    categories: Sequence[str],
    blank: Tensor,
    representation: Representation,
    signature: str,
) -> DetectorModule:
    """The detector for samples like the blank one (1, C, *size), which tells the shape of x0."""
    tiles: Tiles = instantiate(cfg.data.get("tiles")) or Tiles()
    side = tiles.shape(blank.shape[2:])
    one = blank.new_zeros(1, blank.shape[1], *side).to(device(cfg))
    shape = tuple(contracts.check_representation(representation, one).shape[1:])
    tiles.check(blank.shape[2:], shape[1:])
    schedule = instantiate(cfg.schedule)
    contracts.check_schedule(schedule)
    channels = representation.channels
    denoiser = instantiate(cfg.denoiser, shape=shape, classes=len(categories), channels=channels)
    scorer = instantiate(cfg.scorer, channels=channels)
    scorer.check(denoiser, *schedule.reach)  # which refuses a range that the schedule's family does not reach
    check_one_learns(denoiser, scorer)
    optimisation: Optimisation = instantiate(cfg.training)
    check_cells(optimisation.cells, denoiser)
    contracts.check_scoring(denoiser, scorer, shape)
    if cfg.get("head") is not None and blank.ndim != 4:
        raise ValueError("head=synthetic draws defects on images, and these data are not images: take head=none")
    head = instantiate(cfg.get("head"), components=scorer.components, channels=sum(channels))
    components, weights = scorer.components, None
    if head is not None:  # one more component, with its weight
        weights = [(1 - head.weight) / components] * components + [head.weight]
        components += 1
    return DetectorModule(
        representation=representation,
        denoiser=denoiser,
        scorer=scorer,
        anomaly_map=instantiate(
            cfg.anomaly_map,
            components=components,
            weights=weights,
            classes=len(categories),
            view=side if tiles else None,
        ),
        objective=Objective(schedule, instantiate(cfg.weight)),
        optimisation=optimisation,
        categories=categories,
        blank=blank,
        seed=cfg.seed,
        signature=signature,
        replicates=cfg.evaluation.replicates,
        head=head,
        tiles=tiles,
    )


def check_cells(cells: int | None, denoiser: Denoiser) -> None:
    """Batches of single cells train a network that sees one cell."""
    if cells is not None and not (isinstance(denoiser, Learner) and denoiser.cellwise):
        raise ValueError(
            f"training.cells is {cells}, but only a network that sees one cell at a time learns from single cells: add "
            "denoiser=mlp, or take training=images"
        )


def check_one_learns(denoiser: Denoiser, scorer: Scorer) -> None:
    """A scorer that learns takes no denoiser, and any other needs one."""
    name = type(scorer).__name__
    if isinstance(scorer, Learner) and not denoiser.absent:
        raise ValueError(f"the scorer {name} is trained itself: set denoiser=none, not a {type(denoiser).__name__}")
    if denoiser.absent and not isinstance(scorer, Learner):
        raise ValueError(f"denoiser=none leaves the scorer {name} nothing to score with: choose another denoiser")


def device(cfg: DictConfig) -> torch.device:
    """The one device of a run, the same that Lightning's Trainer takes."""
    accelerator, devices = cfg.trainer.accelerator, cfg.trainer.devices
    index = devices[0] if isinstance(devices, ListConfig) else 0
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return torch.device("cuda", index)
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps", index)
    return torch.device("cpu")
