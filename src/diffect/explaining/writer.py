"""Explanations of batches of judged images, written as they come."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffect.detector import Detector, Judgement
from diffect.explaining import picture
from diffect.explaining.explanation import Explanation
from diffect.explaining.nearest import NormalImages, cells_at
from diffect.explaining.regions import Fitting, worst_region
from diffect.levels import origins
from diffect.runs import record as records

FOLDER = "explained"
NEIGHBOURS = 3


@dataclass(frozen=True)
class Judged:
    """Images as they were judged: names, labels (None: class-blind), the originals, how each lies in the canvas.

    `batch` is what the detector was given, on its device, with the labels that images were judged as; `judgement` what
    it said; `images` (B, H, W, 3) are on the canvas.
    """

    names: Sequence[str]
    labels: Sequence[int | None]
    photographs: Sequence[NDArray[np.uint8]]
    fittings: Sequence[Fitting]
    images: NDArray[np.uint8]
    batch: dict[str, Tensor]
    judgement: Judgement

    @property
    def categories(self) -> list[int | None]:
        """As which category each image was judged; None where the run does not tell them apart and none was told."""
        label = self.judgement.label
        return [None] * len(self.names) if label is None else list(label.tolist())


class Explainer:
    """Writes `out`/explained/NAME.png and NAME.json for every image that it is given.

    `thresholds` are the detector's, by category; `rate` what they promise; `scale` mm per pixel; `normal` None where
    the training images are gone, and then `missing` says why.
    """

    def __init__(
        self,
        detector: Detector,
        thresholds: Sequence[float | None],
        rate: float,
        scale: float | None,
        normal: NormalImages | None,
        missing: str,
        out: Path,
    ) -> None:
        self.detector, self.thresholds, self.rate, self.scale = detector, list(thresholds), rate, scale
        self.normal, self.missing, self.folder = normal, missing, out / FOLDER
        channels = detector.representation.channels
        self.origins = origins(detector.scorer, channels, detector.head is not None)

    def write(self, judged: Judged) -> None:
        """One picture and one JSON file for each image of a batch."""
        for one in self.explain(judged):
            stem = one.name.removesuffix(".png")
            records.write_atomic(self.folder / f"{stem}.png", picture.draw(one))
            text = json.dumps(one.told(), indent=1, allow_nan=False, ensure_ascii=False)
            records.write_atomic(self.folder / f"{stem}.json", text + "\n")

    @torch.no_grad()
    def explain(self, judged: Judged) -> list[Explanation]:
        """The explanations of a batch; none depends on its company."""
        valid, found, judged_as = judged.batch["valid"], judged.judgement, judged.categories
        maps = found.maps.cpu().numpy()
        outlines = [None if label is None else self.detector.outlines[label] for label in judged.labels]
        inside = valid.cpu().numpy()
        regions = [worst_region(*one) for one in zip(maps, inside, outlines, strict=True)]
        x0 = self.detector.representation.encode(judged.batch["raw"], judged.batch.get("label"))
        grid = int(x0.shape[2]), int(x0.shape[3])
        canvas = int(maps.shape[1]), int(maps.shape[2])
        cells = [cells_at(region.peak, canvas, grid) for region in regions]
        normal = None if self.normal is None else self.normal.nearest(x0, cells, judged_as, NEIGHBOURS)
        rebuilt = self.detector.reconstruct(judged.batch)
        added = self.detector.anomaly_map.contributions(found.components, found.maps, valid, found.label)
        parts, scores = added.cpu().tolist(), found.scores.tolist()
        return [
            Explanation(
                name=name,
                category=None if category is None else self.detector.categories[category],
                score=scores[place],
                threshold=None if label is None else self.thresholds[label],
                rate=self.rate,
                outline=outlines[place],
                photograph=judged.photographs[place],
                map=maps[place],
                fitting=judged.fittings[place],
                region=regions[place],
                grid=grid,
                cells=cells[place],
                image=judged.images[place],
                origins=self.origins,
                contributions=parts[place],
                rebuilt=None if rebuilt is None else _bytes(rebuilt[place]),
                normal=None if normal is None else normal[place],
                scale=self.scale,
                notes=self._notes(label, category, outlines[place]),
            )
            for place, (name, label, category) in enumerate(zip(judged.names, judged.labels, judged_as, strict=True))
        ]

    def _notes(self, label: int | None, category: int | None, outline: float | None) -> list[str]:
        """What is missing, and why."""
        notes = []
        if label is None:
            best = "" if category is None else f", as {self.detector.categories[category]}, which it is likeliest to be"
            notes.append(f"scored class-blind{best}: thresholds hold for a category and are not applied")
        elif outline is None:
            notes.append(
                "no outline: the run holds no threshold of the map, for it had too few calibration images for the "
                "promised rate, or was made by an earlier version"
            )
        several = len(self.detector.representation.channels) > 1
        if several and all(one.pyramid is None for one in self.origins):
            notes.append("the scorer fuses the levels of the pyramid, so that none has a part of its own")
        return [*notes, self.missing] if self.normal is None else notes


def _bytes(image: Tensor) -> NDArray[np.uint8]:
    """(H, W, 3) from an image (3, H, W) in [0, 1]."""
    return (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()
