"""Features: the pyramid of a frozen backbone as x0."""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from diffect.config.check import checked
from diffect.config.types import NonNegativeFloat, PositiveFloat, PositiveInt, Supplied
from diffect.representations.affine import Affine, Scaling, Statistics
from diffect.representations.backbones import Backbone
from diffect.representations.base import Representation, as_float, local_mean
from diffect.representations.groups import group_count

Exposure = Literal["level", "none"]
Precision = Literal["float32", "bfloat16"]

LUMA = (0.299, 0.587, 0.114)  # of R, G, B
MIDDLE = 0.459  # mean luma of ImageNet, (0.485, 0.456, 0.406) in RGB: what the backbones were trained on
MOST = 8.0  # factor on an image


@checked
class Features(Representation):
    """A pyramid of a frozen backbone, its scales brought to one grid and stacked.

    Args:
        backbone: gives the scales.
        grid: cells of the grid along the short side, the long side in proportion; None takes that of the finest scale.
        scaling, statistics, prior, correlation_prior, floor, shrinkage: of the affine stage, see `Affine`.
        neighbourhood: 3 replaces each patch of each scale by the mean of the 3 x 3 patches around it (Roth et al. 2022,
            section 3.1); 1 leaves it as it is.
        exposure: `level` scales every image to one brightness, see `level_exposure`; `none` leaves it unchanged.
        precision: `bfloat16` runs the backbone under autocast, on processors that have instructions for it; its maps
            then differ by some hundredths of their standard deviation.
        channels: of the samples; a backbone needs the three of a colour image.
        classes: how many categories there are.
        conditional: each category has separate statistics; else all share theirs.
    """

    def __init__(
        self,
        backbone: Backbone,
        grid: PositiveInt | None = None,
        scaling: Scaling = "standard",
        statistics: Statistics = "shared",
        prior: PositiveFloat = 20.0,
        correlation_prior: PositiveFloat = 200.0,
        floor: NonNegativeFloat = 0.5,
        shrinkage: PositiveFloat = 1e-3,
        neighbourhood: Literal[1, 3] = 1,
        exposure: Exposure = "level",
        precision: Precision = "float32",
        channels: Supplied[PositiveInt] = 3,
        classes: Supplied[PositiveInt] = 1,
        conditional: bool = True,
    ) -> None:
        if channels != 3:
            raise ValueError(
                f"representation=features takes colour images of 3 channels, but these data have {channels}: take "
                "representation=pixels"
            )
        groups = group_count(classes, conditional)
        super().__init__(
            Affine(
                backbone.channels,
                scaling=scaling,
                statistics=statistics,
                prior=prior,
                correlation_prior=correlation_prior,
                floor=floor,
                shrinkage=shrinkage,
                groups=groups,
            )
        )
        self._frozen = (backbone,)  # in a tuple, so that torch neither moves it nor puts it into a checkpoint
        self.grid, self.neighbourhood, self.exposure, self.precision = grid, neighbourhood, exposure, precision

    def describe(self) -> str:
        scaling = {
            "raw": "divided by one number",
            "scaled": "scaled to one variance",
            "standard": "each channel standardised",
            "whitened": f"whitened (correlations shrunk by {self.affine.shrinkage:g})",
        }
        statistics = "shared by all grid cells"
        if self.affine.statistics == "cell":
            statistics = f"of each grid cell (those of all cells added as {self.affine.prior:g} images)"
        levelled = "; exposure is levelled first" if self.exposure == "level" else ""
        precision = ", in bfloat16" if self.precision == "bfloat16" else ""
        averaged = ", averaged over 3 x 3 neighbours" if self.neighbourhood > 1 else ""
        backbone = f"the features of {self._frozen[0].describe()}, frozen{precision}{averaged}, on one grid"
        return f"{backbone}, {scaling[self.affine.scaling]} by statistics {statistics}{levelled}"

    @property
    def identity(self) -> str:
        precision = ":bfloat16" if self.precision == "bfloat16" else ""
        averaged = f":neighbourhood={self.neighbourhood}" if self.neighbourhood > 1 else ""
        settings = f"grid={self.grid or 'finest'}:exposure={self.exposure}{precision}{averaged}"
        return f"{self._frozen[0].identity}:{settings}"

    def extract(self, images: Tensor) -> Tensor:
        if images.ndim != 4:
            raise ValueError(
                f"representation=features takes images (B, 3, height, width), but the samples have shape "
                f"{tuple(images.shape)}: take representation=pixels"
            )
        (backbone,) = self._frozen
        backbone.to(images.device)
        half = self.precision == "bfloat16"
        if half and not has_bfloat16(images.device):
            raise ValueError(
                "representation.precision is bfloat16, but this processor has no instructions for it: take float32"
            )
        levelled = level_exposure(images) if self.exposure == "level" else as_float(images)
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16, enabled=half):
            maps = backbone.maps(levelled)
        finest = max((m.shape[-2:] for m in maps), key=math.prod)
        scale = self.grid / min(finest) if self.grid else 1
        grid = round(scale * finest[0]), round(scale * finest[1])
        averaged = [local_mean(m.float(), self.neighbourhood) for m in maps]
        return torch.cat([_to_grid(m, grid) for m in averaged], dim=1).contiguous()


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor computes in bfloat16 itself, where others only imitate it, which is slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def level_exposure(images: Tensor) -> Tensor:
    """Images (B, 3, H, W), uint8 or in [0, 1], as float32, each scaled to the mean luma of ImageNet, `MIDDLE`.

    A gain on the whole image cancels for any content, up to the rounding and clipping of 8 bits. Values above 1 are
    kept. The factor is at most `MOST`, so that a black image stays dark.
    """
    # A median, or a mean of the darker pixels, would ignore clipped highlights, which then become too dark; that
    # changes scores more. Both also vary more between normal images than the mean.
    white = 255 if images.dtype == torch.uint8 else 1
    luma = images.sum((2, 3), dtype=torch.float64) @ images.new_tensor(LUMA, dtype=torch.float64)  # (B,)
    luma = luma / (white * images.shape[2] * images.shape[3])
    factor = (MIDDLE / luma).clamp(max=MOST)
    return images.float() * (factor / white).float().view(-1, 1, 1, 1)


def _to_grid(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Feature maps (B, C, h, w) on another grid: averaged down, or interpolated up."""
    height, width = maps.shape[-2:]
    if height > grid[0] or width > grid[1]:
        maps = F.adaptive_avg_pool2d(maps, (min(height, grid[0]), min(width, grid[1])))
    if maps.shape[-2:] != grid:
        maps = F.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
    return maps
