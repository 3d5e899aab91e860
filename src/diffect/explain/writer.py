"""Explanations of batches of scored images, written as they come."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from diffect.denoisers.empirical import Empirical
from diffect.detector.detector import Detector, ImageResult, ScoredBatch
from diffect.detector.images import Fitting
from diffect.explain import picture
from diffect.explain.explanation import Explanation
from diffect.explain.nearest import NormalImages, cells_at
from diffect.explain.regions import Region, worst_region
from diffect.storage.atomic import write_atomic

EXPLAINED = ("explained/{}.png", "explained/{}.json")
NEIGHBOURS = 3


@dataclass(frozen=True)
class Explainer:
    """Writes `out`/explained/NAME.png and NAME.json for each image.

    Args:
        detector: that scored the images.
        broken: for each category a sentence where the run's own test contradicts that promise, else "".
        mm_per_pixel: of the photographs, or None.
        normal: the training images, or None where they are gone; then `missing` says why.
        stems: of the files, by the image's name.
        out: the folder.
    """

    detector: Detector
    broken: Sequence[str]
    mm_per_pixel: float | None
    normal: NormalImages | None
    missing: str
    stems: Mapping[str, str]
    out: Path

    def write(self, scored: ScoredBatch) -> None:
        """One picture and one JSON file for each image of a batch."""
        for explanation in self.explain(scored):
            png, numbers = (self.out / name.format(self.stems[explanation.name]) for name in EXPLAINED)
            write_atomic(png, picture.draw(explanation))
            text = json.dumps(explanation.as_json(), indent=1, allow_nan=False, ensure_ascii=False)
            write_atomic(numbers, text + "\n")

    @torch.no_grad()
    def explain(self, scored: ScoredBatch) -> list[Explanation]:
        """The explanations of a batch; each is independent of the other images."""
        predictor, prediction, labels = self.detector.predictor, scored.prediction, scored.labels
        batch = scored.batch if prediction.label is None else scored.batch | {"label": prediction.label}
        results = self.detector.results(scored)
        outlines = [None if label is None else self.detector.calibrations[label].outline for label in labels]
        regions = [
            worst_region(result.canvas_map, result.valid, outline)
            for result, outline in zip(results, outlines, strict=True)
        ]
        x0 = predictor.x0(batch)
        grid, canvas = (int(x0.shape[2]), int(x0.shape[3])), (results[0].valid.shape[0], results[0].valid.shape[1])
        cells = [cells_at(region.peak, canvas, grid) for region in regions]
        normal = None if self.normal is None else self.normal.nearest(x0, cells, labels, NEIGHBOURS)
        rebuilt = predictor.reconstruct(batch)  # (B, 3, H, W) in [0, 1]
        if rebuilt is not None:
            rebuilt = (rebuilt * 255).round().byte().permute(0, 2, 3, 1).cpu()
        valid = batch["valid"].to(predictor.device)
        contributions = predictor.anomaly_map.contributions(
            prediction.components, prediction.map, valid, prediction.label
        ).tolist()
        images = batch["image"].permute(0, 2, 3, 1).cpu().numpy()
        return [
            Explanation(
                result=result,
                rate=None if label is None else self.detector.calibrations[label].promised,
                outline=outlines[row],
                photograph=scored.photographs[row](),
                fitting=Fitting.of(result.box, result.size),
                region=regions[row],
                grid=grid,
                cells=cells[row],
                image=images[row],
                origins=predictor.origins,
                contributions=contributions[row],
                rebuilt=None if rebuilt is None else rebuilt[row].numpy(),
                normal=None if normal is None else normal[row],
                mm_per_pixel=self.mm_per_pixel,
                notes=self._notes("label" in scored.batch, label, result, regions[row]),
            )
            for row, (result, label) in enumerate(zip(results, labels, strict=True))
        ]

    def _notes(self, given: bool, label: int | None, result: ImageResult, region: Region) -> list[str]:
        """What a decision rests on or lacks, what is missing, and why."""
        if label is None:
            notes = ["no decision is made: no category was given, and the run does not tell its categories apart"]
        else:
            notes = self._promises(label, result, region)
            if not given:
                unseen = ": it may show a defect, or a part that training never saw" if result.flagged else ""
                notes.insert(0, f"no category was given, and it is taken for {result.category}{unseen}")
        origins = self.detector.predictor.origins
        several = len(self.detector.predictor.representation.channels) > 1
        if several and len(origins) > 1 and all(origin.scale is None for origin in origins):
            notes.append("the scorer fuses the scales of the pyramid, so that scales have no shares")
        if self.normal is None:
            notes.append(self.missing)
        elif not any(isinstance(part, Empirical) for part in self.detector.predictor.denoiser.modules()):
            notes.append("this score is not made of distances to patches: the nearest ones illustrate it")
        return notes

    def _promises(self, label: int, result: ImageResult, region: Region) -> list[str]:
        """What should be known about the thresholds of score and map."""
        calibration = self.detector.calibrations[label]
        if result.flagged is None:
            return [f"no decision and no outline: {calibration.shortfall}"]
        rate = calibration.promised
        notes = [self.broken[label]] if self.broken[label] else []
        if rate is not None and region.outlined != result.flagged:
            does, shows = ("passes", "though a region is") if region.outlined else ("is flagged", "though none is")
            notes.append(
                f"it {does} by its score, {shows} outlined: score and outline have separate thresholds, each of which "
                f"promises {rate:.0%}"
            )
        return notes
