"""From a scorer's components to an anomaly map at the sample's size and a score, calibrated on normal samples."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffect.config.check import checked
from diffect.config.description import Described
from diffect.config.types import Fraction, NonNegativeFloat, NonNegativeInt, Supplied
from diffect.representations.groups import by_group, group_count, of_each_image
from diffect.representations.missing import filled

Pool = Literal["max", "top_mean"]
Combine = Literal["mean", "max"]
Calibration = Literal["mean", "standard"]

_LINEAR = {1: "linear", 2: "bilinear", 3: "trilinear"}  # interpolation by the number of spatial axes
_CONVOLVE: dict[int, Callable[[Tensor, Tensor], Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}


@checked
class AnomalyMap(nn.Module, Described):
    """Components (B, K, *grid) to a map (B, *size) and a score (B,), for 1, 2 or 3 spatial axes.

    map = blur(upsample(combine over k of (border(component_k) - location_k) / scale_k)). The border correction
    lowers errors near the border, see `BorderCorrection`. Location and scale make components comparable, such as those
    of several levels or scales; a single component keeps its order. All three are fitted on held-out normal samples,
    by category where the map is conditional, which makes scores of categories comparable too. The score is the map's
    maximum, or the mean of its top share, over the sample without padding. Missing cells are left out of all this; a
    map has there the value of the nearest cell that is not missing.

    Args:
        components: K, the number of components of the scorer.
        blur: standard deviation of the Gaussian blur as a share of the short side, so that it looks alike at any size;
            0 for none. 1/64 is 4 pixels at 256.
        pool: `max`, or `top_mean`, the mean over the top `share` of cells of the map.
        share: of the sample's cells, padding excluded.
        combine: `mean` over components, or `max`, for which one high component is enough.
        weights: of the components in the mean, adding up to 1; equal by default.
        calibration: `mean`, location 0 and scale E |component|, which keeps ratios of errors; or `standard`, mean and
            standard deviation over samples and cells, which gives more weight to a component that varies less.
            A component that takes both signs has no ratios, so that it is always `standard`.
        border: width in cells of the border correction; 0 for none.
        classes: how many categories there are.
        view: the size of the tiles that images are cut into, None for none. Blur and share are then those of a tile,
            so that a tile is scored like an image of its size.
        conditional: each category has a separate border correction, location and scale; else all share one, and no
            label is needed.
    """

    location: Tensor  # (G, K), G categories, or 1
    scale: Tensor

    def __init__(
        self,
        components: Supplied[int],
        blur: NonNegativeFloat = 0.015625,
        pool: Pool = "top_mean",
        share: Fraction = 0.01,
        combine: Combine = "mean",
        calibration: Calibration = "mean",
        weights: Supplied[Sequence[float] | None] = None,
        border: NonNegativeInt = 0,
        classes: Supplied[int] = 1,
        view: Supplied[Sequence[int] | None] = None,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        if weights is not None and combine == "max":
            raise ValueError(
                "anomaly_map.combine is max, which has no weights, but the head has one: take anomaly_map.combine=mean "
                "or head=none"
            )
        self.blur, self.share, self.view = blur, share, None if view is None else list(view)
        self.pool: Pool = pool
        self.combine: Combine = combine
        self.calibration: Calibration = calibration
        self.weights = None if weights is None else list(weights)
        self.groups = group_count(classes, conditional)
        self.border = BorderCorrection(components, border, self.groups)
        self.register_buffer("location", torch.zeros(self.groups, components))
        self.register_buffer("scale", torch.ones(self.groups, components))

    def describe(self) -> str:
        """How components become a map and a score."""
        combined = "the mean" if self.combine == "mean" else "the maximum"
        blurred = f"blurred (Gaussian, {self.blur:g} of the short side)" if self.blur else "not blurred"
        top = "its maximum" if self.pool == "max" else f"the mean of its highest {100 * self.share:g}% of pixels"
        return (
            f"{combined} of the components on one scale, brought to the size of the image and {blurred}; the image's "
            f"score is {top}"
        )

    def calibrate(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Fit border correction, location and scale to components (B, K, *grid) and labels (B,) of normal samples.

        ValueError where a category has no sample.
        """
        collected: list[list[Tensor]] = [[] for _ in range(self.groups)]
        for components, label in batches:
            for group, rows in by_group(label, self.groups, len(components)):
                collected[group].append(components[rows])
        empty = [group for group, parts in enumerate(collected) if not parts]
        if empty:
            raise ValueError(f"category number {empty[0] + 1} has no normal sample to calibrate the map on")
        groups = [torch.cat(parts) for parts in collected]
        self.border.fit(groups)
        for group, normal in enumerate(groups):
            label = torch.full((len(normal),), group, device=normal.device)
            exact = self.border(normal.double(), label)
            over = (0, *range(2, exact.ndim))
            mean, size, square = (part.nanmean(over) for part in (exact, exact.abs(), exact.square()))
            standard = self.border.signed[group] | (self.calibration == "standard")
            self.location[group] = torch.where(standard, mean, 0)
            self.scale[group] = torch.where(standard, (square - mean.square()).clamp(min=0).sqrt(), size)
        self.scale.clamp_(min=1e-12)

    def alone(self, components: Sequence[int]) -> AnomalyMap:
        """The map of some components without the others, calibrated as here, all with the same weight."""
        rows = torch.tensor(components, device=self.scale.device)
        alone = copy.deepcopy(self)
        alone.weights = None
        alone.location, alone.scale = self.location[:, rows], self.scale[:, rows]
        alone.border.profiles = self.border.profiles[:, rows]
        alone.border.signed = self.border.signed[:, rows]
        return alone

    def map(self, components: Tensor, size: Sequence[int], label: Tensor | None = None) -> Tensor:
        """The anomaly map of each image, (B, *size).

        Args:
            components: (B, K, *grid).
            size: of the images.
            label: (B,), the categories, or None.
        """
        standardised = self._standardised(components, label)
        if self.weights is not None:
            combined = (standardised * self._weights(standardised)).sum(1, keepdim=True)
        elif self.combine == "mean":
            combined = standardised.mean(1, keepdim=True)
        else:
            combined = standardised.amax(1, keepdim=True)
        return self._smoothed(combined, size)[:, 0]

    def score(self, maps: Tensor, valid: Tensor) -> Tensor:
        """Scores (B,) of maps (B, *size); valid (B, *size) is false on padding."""
        return torch.stack([self._top(values[inside])[0].mean() for values, inside in zip(maps, valid, strict=True)])

    def contributions(self, components: Tensor, maps: Tensor, valid: Tensor, label: Tensor | None = None) -> Tensor:
        """The contribution of each component to the score, (B, K), which add up to it.

        Everything after the combination is linear. In a mean a component's part is its weighted share of each cell; in
        a maximum it is the whole cell where the component is the highest, and nothing elsewhere.

        Args:
            components: (B, K, *grid).
            maps: (B, *size), made of these components.
            valid: (B, *size), False on padding.
            label: (B,), the categories, or None.
        """
        standardised = self._standardised(components, label)
        if self.combine == "max":
            highest = F.one_hot(standardised.argmax(1), standardised.shape[1]).movedim(-1, 1)
            parts = standardised * highest
        elif self.weights is not None:
            parts = standardised * self._weights(standardised)
        else:
            parts = standardised / standardised.shape[1]
        added = []
        for part, values, inside in zip(parts, maps, valid, strict=True):
            wide = self._smoothed(part[:, None], values.shape)[:, 0]  # (K, *size)
            added.append(wide[:, inside][:, self._top(values[inside])[1]].mean(1))
        return torch.stack(added)

    def _standardised(self, components: Tensor, label: Tensor | None) -> Tensor:
        around = (..., *[None] * (components.ndim - 2))
        location, scale = (of_each_image(part, label)[around] for part in (self.location, self.scale))
        return filled((self.border(components, label) - location) / scale)

    def _weights(self, components: Tensor) -> Tensor:
        """The weights of the components (B, K, *grid), (1, K, 1, ...)."""
        return components.new_tensor(self.weights).view(1, -1, *[1] * (components.ndim - 2))

    def _smoothed(self, cells: Tensor, size: Sequence[int]) -> Tensor:
        """(B, 1, *size) from cells (B, 1, *grid)."""
        wide = F.interpolate(cells, size=tuple(size), mode=_LINEAR[len(size)], align_corners=False)
        return _gaussian_blur(wide, self.blur * min(self.view or size))

    def _top(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Values and positions of the cells (P,) that make the score."""
        # The slack absorbs the rounding of decimal shares: 0.07 of 100 cells are 7, not 8.
        cells = kept.numel() if self.view is None else min(kept.numel(), math.prod(self.view))
        count = 1 if self.pool == "max" else max(1, math.ceil(self.share * cells - 1e-6))
        return kept.topk(count)


def _gaussian_blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, 1, *size), sigma in cells, one axis after the other, cut at 4 sigma, edges mirrored."""
    if sigma == 0:
        return maps
    rank = maps.ndim - 2
    for axis in range(rank):
        radius = min(math.ceil(4 * sigma), maps.shape[2 + axis] - 1)
        x = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
        kernel = torch.exp(-0.5 * (x / sigma) ** 2)
        around = [0] * (2 * rank)  # `pad` counts axes from the last one
        around[2 * (rank - 1 - axis) : 2 * (rank - axis)] = [radius, radius]
        shape = [-1 if axis == other else 1 for other in range(rank)]
        maps = _CONVOLVE[rank](F.pad(maps, around, mode="reflect"), (kernel / kernel.sum()).view(1, 1, *shape))
    return maps


class BorderCorrection(nn.Module):
    """component / (r_1 r_2 ...), one profile r >= 1 for each spatial axis, above 1 within `width` cells of the border.

    There a network sees half of its surroundings and zeros for the rest, coarse scales of a pyramid are interpolated
    from one side only, and photographs cut parts at varying positions: normal samples have larger errors, and the
    highest values of a map would lie at the border. For each component and each position i along an axis,

        r_i = max(1, mean error at i / mean error inside),

    both over normal samples and over the inner positions of all other axes. Inside, and where errors at the border are
    smaller, nothing is changed. Statistics of each cell would lower errors wherever parts vary, and so hide a defect
    of a part that lies differently in every image.

    A component that takes both signs, such as a log-density, has no ratio: differences take the place of ratios,
    component - (d_1 + d_2 + ...) with d_i = max(0, mean at i - mean inside).

    Args:
        components: K.
        width: in cells; less on a grid that would have fewer than two positions inside. 0 for none.
        groups: G, how many categories have separate profiles; 1 for one profile of all samples, which needs no label.
    """

    profiles: Tensor  # r_i or d_i (G, K, sum of the grid's sides) once fitted, the axes one after the other
    signed: Tensor  # (G, K), whether the component takes both signs

    def __init__(self, components: int, width: int, groups: int = 1) -> None:
        super().__init__()
        self.width = width
        self.register_buffer("profiles", torch.ones(groups, components, 0))
        self.register_buffer("signed", torch.zeros(groups, components, dtype=torch.bool))

    def forward(self, components: Tensor, label: Tensor | None = None) -> Tensor:
        """Components (B, K, *grid) of labels (B,), corrected; unchanged before the fit."""
        if not self.profiles.numel():
            return components
        grid = components.shape[2:]
        signed = of_each_image(self.signed, label)[(..., *[None] * len(grid))]
        product, total = self.profiles.new_ones(1), self.profiles.new_zeros(1)
        for axis, profile in enumerate(of_each_image(self.profiles, label).split(list(grid), dim=-1)):
            wide = profile.view(*profile.shape[:2], *[-1 if axis == other else 1 for other in range(len(grid))])
            product, total = product * wide, total + wide
        return torch.where(signed, components - total.to(components), components / product.to(components))

    def fit(self, groups: Sequence[Tensor]) -> None:
        """Fit to components (N, K, *grid) of normal samples of each group."""
        self.signed = torch.stack([(group < 0).any(0).flatten(1).any(1) for group in groups])
        pairs = zip(groups, self.signed, strict=True)
        self.profiles = torch.stack([self._fitted(group, signed[:, None]) for group, signed in pairs])

    def _fitted(self, components: Tensor, signed: Tensor) -> Tensor:
        """The profiles (K, sum of sides) of a group; float64 sums, so that the order of samples does not matter."""
        mean = components.double().nanmean(0)  # (K, *grid)
        grid = mean.shape[1:]
        widths = [max(0, min(self.width, (side - 2) // 2)) for side in grid]
        inner = [slice(width, side - width) for width, side in zip(widths, grid, strict=True)]
        usual = mean[(slice(None), *inner)].flatten(1).nanmean(1)[:, None]
        profiles = []
        for axis, side in enumerate(grid):
            others = [slice(None) if axis == other else chosen for other, chosen in enumerate(inner)]
            along = mean[(slice(None), *others)].movedim(1 + axis, 1).reshape(len(mean), side, -1).nanmean(2)
            along = along.where(~along.isnan(), usual)  # where all cells are missing
            ratio, difference = (along / usual.clamp(min=1e-12)).clamp(min=1), (along - usual).clamp(min=0)
            ratio[:, inner[axis]], difference[:, inner[axis]] = 1.0, 0.0
            profiles.append(torch.where(signed, difference, ratio))
        return torch.cat(profiles, dim=1).float()
