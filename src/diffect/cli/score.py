"""diffect score: judge images, new ones or a run's own test images, with a finished run."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from omegaconf import DictConfig

from diffect.cli.images import Asked, asked
from diffect.data import decode
from diffect.data.canvas import fit_to_canvas, inside
from diffect.data.store import content_key
from diffect.explain.colours import ColourScale
from diffect.explain.file_names import check_distinct, stem
from diffect.explain.regions import check_scale
from diffect.runs import record_file
from diffect.runs.record import Record
from diffect.storage.atomic import write_atomic

if TYPE_CHECKING:
    from diffect.explain.writer import Explainer, Judged

Row = tuple[str, str, str, str, str]  # of scores.csv


def run(cfg: DictConfig) -> None:
    """Write `out`/scores.csv (name, category, score, threshold, flagged), `out`/maps/*.png and `out`/explained/.

    `category` is that which the image was judged as: the one that was told, or class-blind that which the run takes
    it for; empty where the run does not tell its categories apart. `flagged` says whether the score exceeds the run's
    conformal threshold for that category; it is empty where the run has none, and where there is no category. What is
    explained: see `explaining`.
    """
    from diffect.training import build

    scale = _checked(cfg)
    folder = Path(str(cfg.run)).expanduser()
    trained, detector, thresholds = build.restore(folder)
    images = asked(cfg, trained, detector.categories)
    if cfg.maps or cfg.explain:
        check_distinct(image.name for image in images)
    name = "test" if cfg.images is None else Path(str(cfg.images)).expanduser().resolve().stem
    out = Path(str(cfg.out)).expanduser() if cfg.out else folder / "scored" / name
    for made in ("maps", "explained"):  # those of an earlier call would stand beside other scores
        shutil.rmtree(out / made, ignore_errors=True)
    # As training found them: found again on a batch, a score would depend on its neighbours.
    record = record_file.read(folder / record_file.RECORD)
    height, width = record.splits.canvas
    canvas = height, width
    bits = [record.splits.categories[category].grey_bits for category in detector.categories]
    broken = [record.broken_promise(category) for category in detector.categories]
    explainer = _explainer(detector, thresholds, trained, record, broken, scale, out) if cfg.explain else None
    rows: list[Row] = []
    for batch in _batches(images, cfg.batch_size):
        found = _judge(batch, detector, canvas, trained.data.aspect, bits)
        rows += _rows(found, detector.categories, thresholds)
        if cfg.maps:
            _draw(found, detector.outlines, out / "maps")
        if explainer is not None:
            explainer.write(found)
    _write(out / "scores.csv", rows)
    print(f"{_summary(rows, trained.evaluation.conformal_rate)}: {out / 'scores.csv'}")
    for category, sentence in zip(detector.categories, broken, strict=True):
        if sentence and any(row[1] == category for row in rows):
            print(f"warning: {category}: {sentence}")
    if explainer is not None:
        print(f"explained: {explainer.folder}" + (f" ({explainer.missing})" if explainer.missing else ""))


def _checked(cfg: DictConfig) -> float | None:
    """The scale, once this command's settings are known to be right; a ValueError where one is not."""
    for key in ("maps", "explain"):
        if not isinstance(cfg[key], bool):
            raise ValueError(f"{key} is {cfg[key]!r}; allowed: true, false")
    size = cfg.batch_size
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"batch_size is {size!r}; it must be a whole number, 1 or more")
    if cfg.scale is not None and not cfg.explain:
        raise ValueError(f"scale is {cfg.scale}, but only explanations tell sizes; it needs explain=true")
    return check_scale(cfg.scale)


def _rows(found: Judged, categories: Sequence[str], thresholds: Sequence[float | None]) -> list[Row]:
    rows = []
    for name, category, score in zip(found.names, found.categories, found.judgement.scores.tolist(), strict=True):
        threshold = None if category is None else thresholds[category]
        flagged = "" if threshold is None else str(score > threshold).lower()
        rows.append((name, "" if category is None else categories[category], repr(score), _text(threshold), flagged))
    return rows


def _summary(rows: Sequence[Row], rate: float) -> str:
    """How many images were scored and flagged, or why no decision was made."""
    undecided = sum(not row[-1] for row in rows)
    reason = f"the run had too few calibration images to promise a rate of {rate:g}"
    if not rows[0][1]:
        reason = "thresholds hold for a category: none was told, and the run does not tell its own apart"
    parts = [f"{len(rows)} images scored"]
    if undecided < len(rows):
        parts.append(f"{sum(row[-1] == 'true' for row in rows)} flagged")
    if undecided:
        whose = "" if undecided == len(rows) else f" on {undecided} of them"
        parts.append(f"no decision was made{whose}, for {reason}")
    return ", ".join(parts)


def _explainer(
    detector: Any,
    thresholds: list[float | None],
    trained: DictConfig,
    record: Record,
    broken: Sequence[str],
    scale: float | None,
    out: Path,
) -> Explainer:
    """What explains the images, with the run's training images where they are still there."""
    from diffect.explain.nearest import NormalImages
    from diffect.explain.writer import Explainer

    normal, missing = None, ""
    try:
        normal = NormalImages.open(trained, record, detector.representation)
    except ValueError as error:
        missing = f"no nearest normal patches: {error}"
    rate = trained.evaluation.conformal_rate
    return Explainer(detector, thresholds, rate, broken, scale, normal, missing, out)


def _batches(images: Sequence[Asked], size: int) -> Iterator[Sequence[Asked]]:
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _judge(batch: Sequence[Asked], detector: Any, canvas: tuple[int, int], aspect: str, bits: list[int]) -> Judged:
    """The images of a batch, fitted to the canvas and judged."""
    import torch

    from diffect.explain.regions import Fitting
    from diffect.explain.writer import Judged

    labels = [label for _, label, _ in batch]
    depths = [max(bits) if label is None else bits[label] for label in labels]
    photographs = [decode.read_image(path, depth)[0] for (_, _, path), depth in zip(batch, depths, strict=True)]
    fitted = [fit_to_canvas(photograph, None, canvas, aspect) for photograph in photographs]
    pixels = np.stack([image for image, _, _ in fitted])
    valid = torch.from_numpy(inside(canvas, (box for _, _, box in fitted))).to(detector.device)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(detector.device)
    with torch.no_grad():
        given = {
            "raw": detector.representation.extract(images),
            "key": torch.tensor([content_key(image) for image in pixels]),
            "valid": valid,
        }
        if None not in labels:
            given["label"] = torch.tensor(labels, device=detector.device)
        found = detector.judgement(given)
    if found.label is not None:  # also where the run found out by itself
        given["label"] = found.label
    fittings = [Fitting(box, *one.shape[:2]) for (_, _, box), one in zip(fitted, photographs, strict=True)]
    names = [name for name, _, _ in batch]
    return Judged(names, [label is not None for label in labels], photographs, fittings, pixels, given, found)


def _draw(found: Judged, outlines: Sequence[float | None], folder: Path) -> None:
    """The map of each image, on the colours of its category: whatever else is scored, a colour is one value."""
    from diffect.training import panel

    maps = found.judgement.maps.cpu().numpy()
    for place, (name, category) in enumerate(zip(found.names, found.categories, strict=True)):
        scale = ColourScale.of(None if category is None else outlines[category])
        one = slice(place, place + 1)
        (picture,) = panel.overlay(maps[one], found.images[one], scale.low, scale.twice)
        path = folder / f"{stem(name)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        panel.save(picture, path)


def _write(path: Path, rows: list[tuple[str, str, str, str, str]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("name", "category", "score", "threshold", "flagged"))
    writer.writerows(rows)
    write_atomic(path, buffer.getvalue())


def _text(threshold: float | None) -> str:
    return "" if threshold is None else repr(threshold)
