"""AdamW with warm-up, cosine decay and an average of the weights."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from annotated_types import Interval
from torch import nn
from torch.optim.swa_utils import AveragedModel

from diffect.config.check import checked
from diffect.config.description import Described
from diffect.config.types import NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

Decay = Annotated[float, Interval(ge=0, lt=1)]


@checked
@dataclass(frozen=True)
class Optimisation(Described):
    """AdamW, linear warm-up, cosine decay to 0, and an average of the weights.

    `ema` is the decay of the weights' moving average that is validated, kept and scored with; after n steps it
    is at most (1 + n) / (10 + n), so that the initialisation is forgotten.
    """

    steps: PositiveInt
    validate_every: PositiveInt = 1  # steps between two evaluations of the selection loss
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.01
    warmup: NonNegativeInt = 50
    cells: PositiveInt | None = None  # in a batch, drawn from all images; None: batches of whole images
    ema: Decay = 0.995

    def describe(self) -> str:
        """Steps, optimiser, learning rate and averaging."""
        averaged = f"; a moving average of the weights (decay {self.ema:g}) is kept and scored with" if self.ema else ""
        cells = f"; batches are {self.cells} cells of all images, each at its own noise level" if self.cells else ""
        return (
            f"{self.steps} steps by AdamW [@loshchilov2019adamw] with learning rate {self.learning_rate:g} (linear "
            f"warm-up over {self.warmup} steps, then cosine decay to 0) and weight decay {self.weight_decay:g}"
            f"{averaged}{cells}"
        )

    def rate(self, step: int) -> float:
        """The learning rate at `step`, as a share of `learning_rate`."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        return 0.5 * (1 + math.cos(math.pi * (step - self.warmup) / max(1, self.steps - self.warmup)))

    def configure(self, parameters: Iterable[nn.Parameter]) -> Any:
        """The optimiser and its schedule, as Lightning wants them."""
        optimizer = torch.optim.AdamW(parameters, lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def averaged(self, learner: nn.Module) -> AveragedModel:
        """A copy of the learner that holds the average of its weights."""
        copy = AveragedModel(learner, multi_avg_fn=self._average, use_buffers=False)
        copy.requires_grad_(False)
        return copy

    def _average(self, averaged: Any, current: Any, count: Any) -> None:
        decay = min(self.ema, (1 + int(count)) / (10 + int(count)))
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)
