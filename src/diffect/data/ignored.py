"""Ignored pixels: which cells of features they make missing, that is NaN in all channels."""

import torch
import torch.nn.functional as F
from torch import Tensor

MARGIN = 1 / 16  # of the short side: 16 pixels at 256, the stride of a backbone's usual coarsest scale


def without(raw: Tensor, ignored: Tensor) -> Tensor:
    """Features (B, C, height, width) without the cells that have an ignored pixel (B, *size).

    Where that leaves no cell of an image, only cells of ignored pixels alone are missing.
    """
    if not ignored.any():
        return raw
    marked, grid = ignored[:, None].float().to(raw.device), raw.shape[2:]
    touched, covered = F.adaptive_max_pool2d(marked, grid) > 0, -F.adaptive_max_pool2d(-marked, grid) > 0
    return raw.masked_fill(_unless_all(touched, covered), torch.nan)


def widened(raw: Tensor) -> Tensor:
    """Features (..., C, height, width) without the cells that are at most `MARGIN` away from a missing one.

    What a backbone sees next to an ignored region is partly what fills it. A detector that was not trained with the
    region takes that for a defect: on MVTec AD's bottle, with a hole of 50 pixels at 256, the map was 9 times as high
    as without the hole next to it, twice as high 16 pixels away, and the same 40 pixels away.
    """
    missing = raw[..., :1, :, :].flatten(0, -4).isnan()
    if not missing.any():
        return raw
    cells = round(MARGIN * min(raw.shape[-2:]))
    near = F.max_pool2d(missing.float(), 2 * cells + 1, stride=1, padding=cells) > 0
    return raw.masked_fill(_unless_all(near, missing).view(*raw.shape[:-3], 1, *raw.shape[-2:]), torch.nan)


def _unless_all(marked: Tensor, others: Tensor) -> Tensor:
    """`marked` (B, 1, *grid), but `others` for an image of which all cells are marked."""
    return torch.where(marked.flatten(1).all(1)[:, None, None, None], others, marked)
