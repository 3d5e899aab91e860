"""Coresets: greedy k-center."""

import math

import numpy as np
import torch
from torch import Tensor

_BLOCK = 512  # candidates among which the next centres are searched at once
_CHUNK = 4096  # points compared with them at a time


def greedy_centres(points: Tensor, count: int) -> Tensor:
    """Rows (count,) of points (N, d), each the farthest from the mean and all before it (Gonzalez 1985).

    This is PatchCore's coreset (Roth et al. 2022, algorithm 1), started from the mean, and does not depend on the
    order of the points. It is exact with far fewer than `count` passes over the points: distances only shrink, so the
    farthest of the candidates is the next centre as long as no point outside them was farther. 10,000 of 171,000 points
    with d = 64 take 5 s on one core.
    """
    norms = torch.linalg.vector_norm(points, dim=1).square()
    far = torch.full_like(norms, torch.inf)  # squared distances to the nearest centre
    _lower(far, points, norms, points.mean(0, keepdim=True))
    centres = torch.empty(0, dtype=torch.int64, device=points.device)
    while len(centres) < count:
        values, rows = far.topk(min(_BLOCK + 1, len(far)))
        bound = float(values[-1]) if len(far) > _BLOCK else -math.inf  # the distance of the first point outside
        rows = rows[:_BLOCK]
        added = rows[_greedy(points[rows], far[rows], bound, count - len(centres))]
        _lower(far, points, norms, points[added])
        far[added] = -torch.inf  # never chosen again, even if all others equal a centre
        centres = torch.cat([centres, added])
    return centres


def _lower(far: Tensor, points: Tensor, norms: Tensor, centres: Tensor) -> None:
    """Lower the squared distances `far` (N,) of the points to those from new centres (m, d), where these are nearer."""
    norms_of_centres = centres.square().sum(1)
    for part in torch.arange(len(points), device=points.device).split(_CHUNK):
        squared = torch.addmm(norms_of_centres, points[part], centres.T, alpha=-2)  # less the norms of the points
        far[part] = torch.minimum(far[part], squared.amin(1) + norms[part])


def _greedy(points: Tensor, far: Tensor, bound: float, most: int) -> list[int]:
    """Positions of the next centres among the candidates: at least one, more while no point outside can be farther."""
    gaps = torch.cdist(points, points).square().cpu().numpy()
    left = far.cpu().numpy().copy()
    added: list[int] = []
    while len(added) < min(most, len(left)):
        best = int(left.argmax())
        if added and left[best] < bound:
            break
        added.append(best)
        left = left.clip(max=gaps[best])
        left[best] = -np.inf
    return added
