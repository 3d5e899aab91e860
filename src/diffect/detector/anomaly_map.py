"""From a scorer's components to a map at image resolution and a score; holds what is calibrated on normal images."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from diffect.representations.groups import by_group, group_count, own

Pool = Literal["max", "top_mean"]
Combine = Literal["mean", "max"]
Calibration = Literal["mean", "standard"]


class AnomalyMap(nn.Module):
    """Components (B, K, h, w) to a map (B, H, W) and a score (B,).

    map = blur(upsample(combine over k of (border(component_k) - location_k) / scale_k)). The border correction
    lowers errors near the border, see `BorderCorrection`. Location and scale make components comparable: levels of
    different difficulty, scales of a pyramid; of a single component they change no order. All are found on held-out
    normal images, of each category by itself where it has its own, which makes scores of categories comparable too.
    The score is the map's maximum, or the mean of its top share, over the true image, padding excluded.

    Args:
        components: K, the number of components of the scorer.
        blur: standard deviation of the Gaussian blur as a share of the image's short side, the same look at any size;
            0 for none. 1/64 is 4 pixels at 256.
        pool: `max`, or `top_mean`, the mean over the top `share` of pixels.
        share: of the pixels of the true image.
        combine: `mean` over components, or `max`, for which one loud component is enough.
        weights: of the components in the mean, adding up to 1; all alike if not given.
        calibration: `mean`, location 0 and scale E |component|, which keeps ratios of errors; or `standard`, mean and
            standard deviation over images and cells, which weighs a component the more, the steadier it is.
        border: width in cells of the border correction; 0 for none.
        classes: how many categories there are.
        conditional: each category has a frame, location and scale of its own; else all have the same, and no label
            is asked for.
    """

    location: Tensor  # (G, K), G categories, or 1
    scale: Tensor

    def __init__(
        self,
        components: int,
        blur: float = 0.015625,
        pool: Pool = "top_mean",
        share: float = 0.01,
        combine: Combine = "mean",
        calibration: Calibration = "mean",
        weights: Sequence[float] | None = None,
        border: int = 0,
        classes: int = 1,
        conditional: bool = True,
    ) -> None:
        super().__init__()
        if pool not in ("max", "top_mean"):
            raise ValueError(f"anomaly_map.pool is {pool!r}; allowed: max, top_mean")
        if combine not in ("mean", "max"):
            raise ValueError(f"anomaly_map.combine is {combine!r}; allowed: mean, max")
        if calibration not in ("mean", "standard"):
            raise ValueError(f"anomaly_map.calibration is {calibration!r}; allowed: mean, standard")
        if not 0 < share <= 1:
            raise ValueError(f"anomaly_map.share is {share}; it must lie in (0, 1]")
        if blur < 0:
            raise ValueError(f"anomaly_map.blur is {blur}; it must be 0 or more")
        if weights is not None and combine == "max":
            raise ValueError(
                "anomaly_map.combine is max, which knows no weights, but a head has one: take "
                "anomaly_map.combine=mean, or "
                "head=none"
            )
        self.blur, self.share = blur, share
        self.pool: Pool = pool
        self.combine: Combine = combine
        self.calibration: Calibration = calibration
        self.weights = None if weights is None else list(weights)
        self.groups = group_count(classes, conditional)
        self.border = BorderCorrection(components, border, self.groups)
        self.register_buffer("location", torch.zeros(self.groups, components))
        self.register_buffer("scale", torch.ones(self.groups, components))

    def calibrate(self, batches: Iterable[tuple[Tensor, Tensor | None]]) -> None:
        """Fix frame, location and scale from batches of components (B, K, h, w) and labels (B,) of normal images.

        ValueError where a category that has its own is without an image.
        """
        held: list[list[Tensor]] = [[] for _ in range(self.groups)]
        for components, label in batches:
            for group, rows in by_group(label, self.groups, len(components)):
                held[group].append(components[rows])
        lacking = [group for group, parts in enumerate(held) if not parts]
        if lacking:
            raise ValueError(f"there is no normal image to calibrate the map on, of category number {lacking[0] + 1}")
        groups = [torch.cat(parts) for parts in held]
        self.border.fit(groups)
        for group, normal in enumerate(groups):
            label = torch.full((len(normal),), group, device=normal.device)
            exact = self.border(normal.double(), label)
            mean, size, square = (part.mean((0, 2, 3)) for part in (exact, exact.abs(), exact.square()))
            if self.calibration == "mean":
                location, scale = torch.zeros_like(mean), size
            else:
                location, scale = mean, (square - mean.square()).clamp(min=0).sqrt()
            self.location[group].copy_(location)
            self.scale[group].copy_(scale.clamp(min=1e-12))

    def alone(self, places: Sequence[int]) -> AnomalyMap:
        """The map of some components without the others, calibrated as here, all of one weight."""
        rows = torch.tensor(places, device=self.scale.device)
        settings = (self.blur, self.pool, self.share, self.combine, self.calibration, None, self.border.width)
        made = AnomalyMap(len(places), *settings, classes=self.groups).to(self.scale.device)
        made.location, made.scale = self.location[:, rows], self.scale[:, rows]
        made.border.rows, made.border.columns = self.border.rows[:, rows], self.border.columns[:, rows]
        return made

    def map(self, components: Tensor, size: Sequence[int], label: Tensor | None = None) -> Tensor:
        """(B, H, W) from components (B, K, h, w) and labels (B,); size is (H, W)."""
        level = self._standardised(components, label)
        if self.weights is not None:
            combined = (level * level.new_tensor(self.weights).view(1, -1, 1, 1)).sum(1, keepdim=True)
        else:
            combined = level.mean(1, keepdim=True) if self.combine == "mean" else level.amax(1, keepdim=True)
        return self._smoothed(combined, size)[:, 0]

    def score(self, maps: Tensor, valid: Tensor) -> Tensor:
        """(B,) from maps (B, H, W) and valid (B, H, W), true where the image is and false on padding."""
        return torch.stack([self._top(values[inside])[0].mean() for values, inside in zip(maps, valid, strict=True)])

    def contributions(self, components: Tensor, maps: Tensor, valid: Tensor, label: Tensor | None = None) -> Tensor:
        """What each component adds to the score, (B, K), adding up to it; all else as there and in `map`.

        All that follows the combination is linear. In a mean a component's part is its weighted share of each cell; in
        a maximum it is the whole cell where the component is the highest, and nothing elsewhere.
        """
        level = self._standardised(components, label)
        if self.combine == "max":
            highest = F.one_hot(level.argmax(1), level.shape[1]).movedim(-1, 1)
            parts = level * highest
        elif self.weights is not None:
            parts = level * level.new_tensor(self.weights).view(1, -1, 1, 1)
        else:
            parts = level / level.shape[1]
        added = []
        for part, values, inside in zip(parts, maps, valid, strict=True):
            wide = self._smoothed(part[:, None], values.shape)[:, 0]  # (K, H, W)
            added.append(wide[:, inside][:, self._top(values[inside])[1]].mean(1))
        return torch.stack(added)

    def _standardised(self, components: Tensor, label: Tensor | None) -> Tensor:
        location, scale = (own(part, label)[:, :, None, None] for part in (self.location, self.scale))
        return (self.border(components, label) - location) / scale

    def _smoothed(self, cells: Tensor, size: Sequence[int]) -> Tensor:
        """(B, 1, H, W) from cells (B, 1, h, w)."""
        wide = F.interpolate(cells, size=tuple(size), mode="bilinear", align_corners=False)
        return _gaussian_blur(wide, self.blur * min(size))

    def _top(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Values and places of the pixels (P,) that make the score."""
        # The slack absorbs the rounding of decimal shares: 0.07 of 100 pixels are 7, not 8.
        count = 1 if self.pool == "max" else max(1, math.ceil(self.share * kept.numel() - 1e-6))
        values, places = kept.topk(count)
        return values, places


def _gaussian_blur(maps: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of (B, 1, H, W), sigma in pixels, separable, cut at 4 sigma, edges mirrored."""
    if sigma == 0:
        return maps
    for side in (2, 3):
        radius = min(math.ceil(4 * sigma), maps.shape[side] - 1)
        x = torch.arange(-radius, radius + 1, device=maps.device, dtype=maps.dtype)
        kernel = torch.exp(-0.5 * (x / sigma) ** 2)
        kernel = kernel / kernel.sum()
        if side == 2:
            maps = F.conv2d(F.pad(maps, (0, 0, radius, radius), mode="reflect"), kernel.view(1, 1, -1, 1))
        else:
            maps = F.conv2d(F.pad(maps, (radius, radius, 0, 0), mode="reflect"), kernel.view(1, 1, 1, -1))
    return maps


class BorderCorrection(nn.Module):
    """component / (r_y c_x), with r >= 1 for the rows and c >= 1 for the columns within `width` cells of the border.

    There a network sees half of its surroundings and zeros for the rest, coarse levels of a pyramid are interpolated
    from one side only, and photographs cut parts at varying places: normal images err more, and the highest pixels of a
    map would be those of the frame. By component,

        r_y = max(1, mean error in row y / mean error inside),

    both over normal images, r without the frame's columns and c without its rows; inside, and where the frame errs
    less, nothing is changed. Statistics of each cell would do the same to every place where parts vary, which hides
    what is wrong with a part that lies otherwise in every image.

    A component that takes both signs, such as a log-density, has no ratio: it gets no frame.

    Args:
        components: K.
        width: in cells; less on a grid that would have fewer than two rows or columns inside. 0 for none.
        groups: G, how many categories have a frame of their own; 1 for one of all images, which asks for no label.
    """

    rows: Tensor  # (G, K, h) once fitted
    columns: Tensor  # (G, K, w)

    def __init__(self, components: int, width: int, groups: int = 1) -> None:
        super().__init__()
        if width < 0:
            raise ValueError(f"anomaly_map.border is {width}; it must be 0 cells or more")
        self.width = width
        self.register_buffer("rows", torch.ones(groups, components, 0))
        self.register_buffer("columns", torch.ones(groups, components, 0))

    def forward(self, components: Tensor, label: Tensor | None = None) -> Tensor:
        """(B, K, h, w), damped, of labels (B,); before the fit as they are."""
        if not self.rows.numel():
            return components
        rows, columns = own(self.rows, label), own(self.columns, label)
        return components / (rows[..., None] * columns[..., None, :]).to(components)

    def fit(self, groups: Sequence[Tensor]) -> None:
        """From components (N, K, h, w) of normal images of each group."""
        rows, columns = zip(*map(self._fitted, groups), strict=True)
        self.rows, self.columns = torch.stack(rows), torch.stack(columns)

    def _fitted(self, components: Tensor) -> tuple[Tensor, Tensor]:
        """Rows (K, h) and columns (K, w) of a group; float64 sums, so that the order of images has no say."""
        mean = components.double().mean(0)  # (K, h, w)
        signed = components.amin((0, 2, 3)) < 0
        height, width = mean.shape[1:]
        y, x = (_inside(size, min(self.width, (size - 2) // 2)) for size in (height, width))
        usual = mean[:, y][:, :, x].mean((1, 2)).clamp(min=1e-12)[:, None]
        rows, columns = (mean[:, :, x].mean(2) / usual).clamp(min=1), (mean[:, y].mean(1) / usual).clamp(min=1)
        rows[:, y] = columns[:, x] = 1.0
        rows[signed] = columns[signed] = 1.0
        return rows.float(), columns.float()


def _inside(size: int, width: int) -> slice:
    """What lies at least `width` cells from either end, all of it for a width below 1."""
    return slice(max(width, 0), size - max(width, 0))
