"""Cells that are missing, since their images are ignored there: NaN in all channels of raw, x0 and components."""

import torch
from torch import Tensor


def present(values: Tensor) -> Tensor:
    """Which cells of values (B, C, *grid) are not missing, (B, *grid)."""
    return ~values[:, 0].isnan()


def filled(values: Tensor) -> Tensor:
    """Values (B, C, *grid), each missing cell with those of the nearest one that is not missing; 0 without any."""
    known = present(values)
    if known.all():
        return values
    from scipy.ndimage import distance_transform_edt

    values = values.clone()
    for image, cells in zip(values, known, strict=True):
        if not cells.any():
            image.zero_()
            continue
        nearest = distance_transform_edt(~cells.cpu().numpy(), return_distances=False, return_indices=True)
        image.copy_(image[(slice(None), *torch.from_numpy(nearest).to(values.device, torch.int64))])
    return values
