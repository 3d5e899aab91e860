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

from diffect.denoisers.empirical import Empirical
from diffect.detector import Detector, Judgement
from diffect.explain import picture
from diffect.explain.explanation import Explanation
from diffect.explain.file_names import stem
from diffect.explain.nearest import NormalImages, cells_at
from diffect.explain.regions import Fitting, Region, worst_region
from diffect.explain.telling import told
from diffect.scorers.base import Origin
from diffect.storage.atomic import write_atomic

FOLDER = "explained"
NEIGHBOURS = 3


@dataclass(frozen=True)
class Judged:
    """Images as they were judged: names, whether categories were told, the originals, how each lies in the canvas.

    `batch` is what the detector was given, on its device, with the labels that images were judged as; `judgement` what
    it said; `images` (B, H, W, 3) are on the canvas.
    """

    names: Sequence[str]
    told: Sequence[bool]
    photographs: Sequence[NDArray[np.uint8]]
    fittings: Sequence[Fitting]
    images: NDArray[np.uint8]
    batch: dict[str, Tensor]
    judgement: Judgement

    @property
    def categories(self) -> list[int | None]:
        """As which category each image was judged, told or not; None where the run could not find out either."""
        label = self.judgement.label
        return [None] * len(self.names) if label is None else list(label.tolist())


class Explainer:
    """Writes `out`/explained/NAME.png and NAME.json for every image that it is given.

    `thresholds` are the detector's, by category; `rate` what they promise; `broken` where the run's own test denies it,
    by category, a sentence or ""; `scale` mm per pixel; `normal` None where the training images are gone, and then
    `missing` says why.
    """

    def __init__(
        self,
        detector: Detector,
        thresholds: Sequence[float | None],
        rate: float,
        broken: Sequence[str],
        scale: float | None,
        normal: NormalImages | None,
        missing: str,
        out: Path,
    ) -> None:
        self.detector, self.thresholds, self.rate, self.scale = detector, list(thresholds), rate, scale
        self.broken = list(broken)
        self.normal, self.missing, self.folder = normal, missing, out / FOLDER
        self.origins = [*detector.scorer.origins, *([Origin(head=True)] if detector.head is not None else [])]
        self.by_patch = any(isinstance(part, Empirical) for part in detector.denoiser.modules())

    def write(self, judged: Judged) -> None:
        """One picture and one JSON file for each image of a batch."""
        for one in self.explain(judged):
            write_atomic(self.folder / f"{stem(one.name)}.png", picture.draw(one))
            text = json.dumps(told(one), indent=1, allow_nan=False, ensure_ascii=False)
            write_atomic(self.folder / f"{stem(one.name)}.json", text + "\n")

    @torch.no_grad()
    def explain(self, judged: Judged) -> list[Explanation]:
        """The explanations of a batch; none depends on its company."""
        valid, found, judged_as = judged.batch["valid"], judged.judgement, judged.categories
        maps = found.maps.cpu().numpy()
        outlines = [None if category is None else self.detector.outlines[category] for category in judged_as]
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
                threshold=None if category is None else self.thresholds[category],
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
                by_patch=self.by_patch,
                notes=self._notes(told, category, scores[place], regions[place]),
            )
            for place, (name, told, category) in enumerate(zip(judged.names, judged.told, judged_as, strict=True))
        ]

    def _notes(self, told: bool, category: int | None, score: float, region: Region) -> list[str]:
        """What a decision rests on or lacks, what is missing, and why."""
        if category is None:
            notes = ["no decision is made: no category was told, and the run does not tell its categories apart"]
        else:
            notes = self._promises(category, score, region)
            if not told:
                notes.insert(0, self._taken(category, score))
        several = len(self.detector.representation.channels) > 1
        if several and len(self.origins) > 1 and all(one.scale is None for one in self.origins):
            notes.append("the scorer fuses the levels of the pyramid, so that none has a part of its own")
        return [*notes, self.missing] if self.normal is None else notes

    def _taken(self, category: int, score: float) -> str:
        """Of an image whose category nobody told."""
        threshold = self.thresholds[category]
        unseen = ": it may show a defect, or a part that training never saw"
        odd = unseen if threshold is not None and score > threshold else ""
        return f"nobody told its category, and it is taken for {self.detector.categories[category]}{odd}"

    def _promises(self, label: int, score: float, region: Region) -> list[str]:
        """What is to be known about the thresholds of score and map."""
        threshold, outline = self.thresholds[label], self.detector.outlines[label]
        if threshold is None or outline is None:
            few = f"too few calibration images to promise a rate of {self.rate:.0%}"
            return [f"no decision and no outline: the run had {few}"]
        notes = [self.broken[label]] if self.broken[label] else []
        if region.outlined != (score > threshold):
            does, shows = ("passes", "though a region is") if region.outlined else ("is flagged", "though none is")
            notes.append(
                f"it {does} by its score, {shows} outlined: score and outline have thresholds of their own, each of "
                f"which promises {self.rate:.0%}"
            )
        return notes


def _bytes(image: Tensor) -> NDArray[np.uint8]:
    """(H, W, 3) from an image (3, H, W) in [0, 1]."""
    return (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()
