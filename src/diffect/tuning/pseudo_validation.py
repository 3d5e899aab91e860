"""Figures on pseudo-validation: normal images against copies of themselves with synthetic defects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from diffect.data.batches import Batch, Items
from diffect.metrics.bootstrap import resample
from diffect.metrics.curves import Floats, area, image_metrics
from diffect.metrics.pixels import Bools, Maps, Pixels, resampled

BINS = 2048  # of the histograms from which overlaps of resamples are computed
LIMIT = 0.30  # false-positive rate to which the overlap is integrated


@dataclass(frozen=True)
class Sheet:
    """The truth about n normal images and, after them, their copies with defects: N = n (1 + copies) in all.

    masks, valid (N, H, W); origin (N,) the normal image that each is or was made from; kinds (N,) of the defects, ""
    for normal images.
    """

    masks: Bools
    valid: Bools
    origin: NDArray[np.intp]
    kinds: NDArray[np.str_]

    @classmethod
    def of(cls, normals: DataLoader[Batch], copies: DataLoader[Batch], each: int) -> Sheet:
        """From the loaders of one category's selection normals and of their copies, `each` of every image."""
        items = copies.dataset
        assert isinstance(items, Items)
        batches = [*normals, *copies]
        masks, valid = (torch.cat([batch[name] for batch in batches]).numpy() for name in ("mask", "valid"))
        count = len(masks) // (1 + each)
        kinds = [""] * count + [items.parts[part].samples[row].defect for part, row in items.rows]
        return cls(masks, valid, np.append(np.arange(count), np.arange(count).repeat(each)), np.array(kinds))

    @property
    def anomalous(self) -> Bools:
        return np.asarray(self.kinds != "")


def pseudo_figures(
    sheet: Sheet, maps: Maps, pooled: dict[int, Floats], category: str, replicates: int
) -> dict[int, dict[str, Any]]:
    """The figures, overall and by kind of defect, of every candidate that pools these maps (N, H, W) to scores (N,).

    `replicates` of the objective (image AUROC + AUPRO 30%) / 2 come from resamples of the normal images, each with all
    its copies; they are the same resamples for every candidate.
    """
    drawn = resample(category, np.zeros(sheet.origin.max() + 1), replicates)[:, sheet.origin]  # (R, N)
    kinds = sorted(set(sheet.kinds) - {""})
    pixels = Pixels.select(maps, sheet.masks, sheet.valid, np.ones(len(maps), bool))
    overlap, overlaps = (part["overlap"] for part in resampled(pixels, drawn, BINS, _overlap))
    by_kind = {kind: _overlap_of(sheet, maps, np.isin(sheet.kinds, ("", kind))) for kind in kinds}
    figures = {}
    for index, scores in pooled.items():
        whole = image_metrics(scores, sheet.anomalous)
        areas = image_metrics(scores, sheet.anomalous, drawn)["image_auroc"]
        figures[index] = {
            "image_auroc": float(whole["image_auroc"][0]),
            "pixel_aupro_30": float(overlap[0]),
            "image_tpr_at_5fpr": float(whole["image_tpr_at_5fpr"][0]),
            "kinds": {kind: {**_of_kind(sheet, scores, kind), "pixel_aupro_30": by_kind[kind]} for kind in kinds},
            "replicates": np.round((areas + overlaps) / 2, 6).tolist(),
        }
    return figures


def _of_kind(sheet: Sheet, scores: Floats, kind: str) -> dict[str, float]:
    chosen = np.isin(sheet.kinds, ("", kind))
    metrics = image_metrics(scores[chosen], sheet.anomalous[chosen])
    return {
        "images": int((sheet.kinds == kind).sum()),
        "image_auroc": float(metrics["image_auroc"][0]),
        "image_tpr_at_5fpr": float(metrics["image_tpr_at_5fpr"][0]),
    }


def _overlap_of(sheet: Sheet, maps: Maps, chosen: Bools) -> float:
    """AUPRO 30% over the chosen images."""
    pixels = Pixels.select(maps[chosen], sheet.masks[chosen], sheet.valid[chosen], chosen[chosen])
    return float(_overlap(*pixels.ordered().curve())["overlap"][0])


def _overlap(fp: Floats, _: Floats, pro: Floats) -> dict[str, Floats]:
    return {"overlap": area(fp, pro, LIMIT)}
