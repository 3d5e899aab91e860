"""How a detector's head learns, all else being final."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader

from diffect.data.batches import Batch
from diffect.detector.module import Detector
from diffect.head import Examples


@torch.no_grad()
def teach(
    detector: Detector,
    normal: DataLoader[Batch],
    defective: DataLoader[Batch],
    held: DataLoader[Batch] | None,
    seed: int,
) -> None:
    """Train the head on fit images and on their copies with synthetic defects.

    Components are standardised as on `held`, normal images that the denoiser has not seen, where there are any.
    """
    assert detector.head is not None
    detector.eval()
    seen, copies = _examples(detector, normal), _examples(detector, defective)
    reference = seen if held is None else _examples(detector, held)
    detector.head.fit(seen, copies, reference.components, seed)


def _examples(detector: Detector, loader: DataLoader[Batch]) -> Examples:
    """What the head learns from: components are kept on the CPU, x0 is read batch by batch."""
    components, shares = [], []
    for batch in loader:
        components.append(detector.scored(*detector.encoded(batch)).cpu())
        height, width = components[-1].shape[-2:]
        shares.append(F.adaptive_avg_pool2d(batch["mask"].float()[:, None], (height, width)))
    fetch = loader.dataset.__getitems__  # type: ignore[attr-defined]
    return Examples(torch.cat(components), torch.cat(shares), lambda places: detector.encoded(fetch(places))[0])
