"""A small head, trained on synthetic defects on normal images, that adds a component to the scorer's."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from annotated_types import Ge, Interval
from torch import Tensor, nn

from diffect.config.check import checked
from diffect.config.description import Described
from diffect.config.types import Fraction, Names, NonNegativeFloat, PositiveFloat, PositiveInt, Supplied, as_list
from diffect.data.synthetic import check_kinds
from diffect.diffusion.noise import seed_of
from diffect.errors import listed

Inputs = Literal["maps", "features", "both"]

_WARMUP = 20  # steps


@dataclass(frozen=True)
class Examples:
    """N images to train on."""

    components: Tensor  # of the scorer, (N, K, h, w)
    share: Tensor  # of each cell that is defective, (N, 1, h, w)
    x0: Callable[[list[int]], Tensor]  # x0 (B, C, h, w) of the images at given positions

    def __len__(self) -> int:
        return len(self.components)


@checked
class SyntheticHead(nn.Module, Described):
    """A logit map (B, 1, h, w) from the components (B, K, h, w) of a scorer and from x0 (B, C, h, w).

    Trained to separate the defective cells of synthetic defects from cells of normal images, with equal weight, it
    tends to log p(cell | synthetic defect) / p(cell | normal) (DRAEM, Zavrtanik et al. 2021, with the maps of a
    diffusion model in place of its reconstruction). Denoiser, scorer and backbone are fixed before. The logit is one
    more component of the anomaly map. The head does not see the category.

    Args:
        components, channels: K and C.
        inputs: `maps`, asinh of the standardised components, which limits large ones; `features`, x0; or `both`.
        kinds: of the synthetic defects to train on; all if none is named.
        copies: synthetic defects on each fit image.
        weight: of the head in the map; the scorer's components share the rest.
        steps, batch_size, learning_rate, weight_decay: of AdamW, with a short warm-up and cosine decay to 0; half a
            batch is normal.
        width: number of hidden channels.
        dropout: share of the input channels left out in a training step.
    """

    location: Tensor  # (K,), of the components of normal images
    scale: Tensor

    def __init__(
        self,
        components: Supplied[int],
        channels: Supplied[int],
        inputs: Inputs = "both",
        kinds: Names = (),
        copies: PositiveInt = 2,
        weight: Fraction = 0.25,
        steps: PositiveInt = 150,
        batch_size: Annotated[int, Ge(2)] = 16,
        learning_rate: PositiveFloat = 2e-3,
        weight_decay: NonNegativeFloat = 0.05,
        width: PositiveInt = 64,
        dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__()
        try:
            self.kinds = check_kinds(as_list(kinds))
        except ValueError as error:
            raise ValueError(f"head.{error}") from error
        self.inputs, self.copies, self.weight = inputs, copies, weight
        self.steps, self.batch_size, self.dropout = steps, batch_size, dropout
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.summary: dict[str, object] = {}  # of its training, for the record
        inside = components * (inputs != "features") + channels * (inputs != "maps")
        self.layers = nn.Sequential(
            nn.Conv2d(inside, width, 1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1, groups=width, padding_mode="replicate"),
            nn.GELU(),
            nn.Conv2d(width, width, 1),
            nn.GELU(),
            nn.Conv2d(width, 1, 1),
        )
        self.register_buffer("location", torch.zeros(components))
        self.register_buffer("scale", torch.ones(components))

    def describe(self) -> str:
        """What it is trained on, and its weight in the map."""
        drawn = "of all kinds" if self.kinds == check_kinds(()) else f"of the kinds {listed(self.kinds)}"
        return (
            f"synthetic defects {drawn} on the fit images [@zavrtanik2021draem], for {self.steps} steps; its logit has "
            f"{self.weight:g} of the weight of the map"
        )

    def forward(self, components: Tensor, x0: Tensor) -> Tensor:
        """The logit map (B, 1, h, w)."""
        logit: Tensor = self.layers(self._inputs(components, x0))
        return logit

    def start(self, reference: Tensor, seed: int) -> None:
        """Scale the inputs by components (N, K, h, w) of normal images, and draw the weights."""
        spread, mean = torch.std_mean(reference.double(), (0, 2, 3), correction=0)
        self.location.copy_(mean)
        self.scale.copy_(spread.clamp(min=1e-12))
        self._initialise(torch.Generator().manual_seed(seed_of(seed, "head")))

    @torch.enable_grad()
    def fit(self, normal: Examples, defective: Examples, reference: Tensor, seed: int) -> None:
        """Train; the result is a function of the arguments alone, so that a resumed run trains the same head.

        Args:
            normal: fit images.
            defective: copies of them with synthetic defects.
            reference: components (N, K, h, w) of normal images, which set the scale.
            seed: of the weights and of the batches.
        """
        self.start(reference, seed)
        optimizer = torch.optim.AdamW(self.layers.parameters(), lr=self.learning_rate, weight_decay=self.weight_decay)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, self._rate)
        losses = []
        for step in range(self.steps):
            loss = self._loss(normal, defective, torch.Generator().manual_seed(seed_of(seed, "head", step)))
            losses.append(loss.item())
            if not math.isfinite(losses[-1]):
                raise ValueError(f"the head's loss became {losses[-1]} at step {step}: lower head.learning_rate")
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
        last = losses[-max(1, self.steps // 10) :]
        self.summary = {
            "inputs": self.inputs,
            "kinds": self.kinds,
            "normal": len(normal),
            "synthetic": len(defective),
            "steps": self.steps,
            "loss": sum(last) / len(last),  # the mean of the last tenth of the steps; ln 2 is chance
        }

    def _loss(self, normal: Examples, defective: Examples, generator: torch.Generator) -> Tensor:
        """Cross-entropy of one batch, normal and defective cells half each.

        A cell counts fully as defective if a quarter of it or more is covered. The other cells of a copy count as
        normal, although the backbone's receptive field reaches into the defect.
        """
        half = self.batch_size // 2
        logits, shares = [], []
        for examples in (normal, defective):
            places = torch.randint(len(examples), (half,), generator=generator)
            device = self.location.device
            components = examples.components[places].to(device)
            x0 = examples.x0(places.tolist()) if self.inputs != "maps" else components
            inputs = self._inputs(components, x0)
            if self.dropout:
                kept = torch.rand(*inputs.shape[:2], 1, 1, generator=generator) >= self.dropout
                inputs = inputs * kept.to(inputs) / (1 - self.dropout)
            logits.append(self.layers(inputs))
            shares.append(examples.share[places].to(device))
        logit, share = torch.cat(logits), torch.cat(shares)
        defect, rest = (4 * share).clamp(max=1), (share == 0).to(share)
        missed = (F.softplus(-logit) * defect).sum() / defect.sum().clamp(min=1e-6)
        false = (F.softplus(logit) * rest).sum() / rest.sum()
        return (missed + false) / 2

    def _inputs(self, components: Tensor, x0: Tensor) -> Tensor:
        if self.inputs == "features":
            return x0
        maps = torch.asinh((components - self.location.view(1, -1, 1, 1)) / self.scale.view(1, -1, 1, 1))
        return maps if self.inputs == "maps" else torch.cat([maps, x0], dim=1)

    def _initialise(self, generator: torch.Generator) -> None:
        """Weights of variance 2 / fan-in (He et al. 2015, eq. 10), biases 0, drawn on the CPU."""
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                drawn = torch.empty(layer.weight.shape)
                layer.weight.data.copy_(nn.init.kaiming_normal_(drawn, generator=generator))
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def _rate(self, step: int) -> float:
        """The learning rate at a step, as a share of `learning_rate`."""
        return min(1.0, (step + 1) / _WARMUP) * 0.5 * (1 + math.cos(math.pi * step / self.steps))
