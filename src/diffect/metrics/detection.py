"""The torchmetrics face of the figures: it gathers raw scores and maps, and counts once at the end."""

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from diffect.metrics.evaluation import Evaluation, ScoredImages

STATE = ("scores", "anomalous", "maps", "masks", "valid", "has_mask")


class DetectionMetrics(Metric):
    """Image, pixel and conformal figures of one category, with bootstrap intervals.

    State is raw and lives on the CPU, maps as float32 (4 bytes a pixel of the test set, masks and valid
    one each): curves binned or squashed batch by batch are wrong. Set `threshold` (the conformal one, or
    None) before `compute`. Images must be given in the same order in every run for replicates to pair.
    """

    full_state_update = False
    higher_is_better = None
    is_differentiable = False

    def __init__(self, category: str, replicates: int = 1000, bins: int = 2048, **kwargs: Any) -> None:
        # No cache: a threshold that is set after a first compute must count.
        super().__init__(compute_with_cache=False, **kwargs)
        self.category = category
        self.replicates = replicates
        self.bins = bins
        self.threshold: float | None = None
        for name in STATE:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(
        self, scores: Tensor, anomalous: Tensor, maps: Tensor, masks: Tensor, valid: Tensor, has_mask: Tensor
    ) -> None:
        """Add images: scores, anomalous, has_mask (B,); maps, masks, valid (B, H, W); ValueError if unfit."""
        batch = (
            scores.detach().cpu().double(),
            anomalous.detach().cpu().bool(),
            maps.detach().cpu().float(),
            masks.detach().cpu().bool(),
            valid.detach().cpu().bool(),
            has_mask.detach().cpu().bool(),
        )
        ScoredImages(self.category, *(array.numpy() for array in batch))
        for name, array in zip(STATE, batch, strict=True):
            getattr(self, name).append(array)

    def compute(self) -> Evaluation:
        """All figures over the images given so far; ValueError where there are none."""
        # A state gathered from several processes is one tensor, not a list of batches.
        states = [getattr(self, name) for name in STATE]
        if not len(states[0]):
            raise ValueError(f"No test image of category '{self.category}' was given to the metrics.")
        whole = (state if isinstance(state, Tensor) else torch.cat(state) for state in states)
        images = ScoredImages(self.category, *(state.numpy() for state in whole))
        return images.evaluate(self.threshold, self.replicates, self.bins)
