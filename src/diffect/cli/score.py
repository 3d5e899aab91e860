"""diffect score: score images, new ones or a run's own test images, with a finished run."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from omegaconf import DictConfig

from diffect.explain.regions import check_mm_per_pixel
from diffect.runs import record_file
from diffect.runs.record import Record
from diffect.storage.atomic import write_atomic

if TYPE_CHECKING:
    from diffect.detector.detector import Detector, ImageResult, ScoredBatch
    from diffect.explain.writer import Explainer

MAPS = ("false", "png", "npy", "both")  # true means png
COLUMNS = ("name", "category", "score", "threshold", "flagged", "p_value")


def run(cfg: DictConfig) -> None:
    """Write `out`/scores.csv, `out`/maps/ and `out`/explained/.

    `category` is the one that the image was scored as: the one that was given, or with category=none the likeliest;
    empty where the run does not tell its categories apart. `flagged` says whether the score exceeds the run's conformal
    threshold for that category, `p_value` see `Calibration`; they are empty without calibration images enough, and
    without a category.
    """
    from diffect.detector.images import named_images
    from diffect.explain.writer import check_distinct
    from diffect.training.load import load

    maps = _maps(cfg)
    mm_per_pixel = _check(cfg)
    folder = Path(str(cfg.run)).expanduser()
    detector, record = load(folder), record_file.read(folder / record_file.RECORD)
    trained = DictConfig(record.config)
    if not detector.kind.drawable:
        if cfg.explain:
            raise ValueError(f"samples of kind {detector.kind.name} cannot be drawn: set explain=false")
        if "png" in maps:
            maps.discard("png")
            print(
                f"no pictures of maps: samples of kind {detector.kind.name} cannot be drawn; maps=npy saves the values"
            )
    if cfg.images is None:
        names, batches = _own_test_images(cfg, detector, trained)
    else:
        label = detector.label_of(cfg.category)
        images, _ = named_images(str(cfg.images))
        names, batches = [name for name, _ in images], detector.scored(images, label, cfg.batch_size)
    if maps or cfg.explain:
        check_distinct(names)
    name = "test" if cfg.images is None else Path(str(cfg.images)).expanduser().resolve().stem
    out = Path(str(cfg.out)).expanduser() if cfg.out else folder / "scored" / name
    for made in ("maps", "explained"):  # those of an earlier call would stand beside other scores
        shutil.rmtree(out / made, ignore_errors=True)
    broken = [record.broken_promise(category) for category in detector.categories]
    explainer = _explainer(detector, trained, record, broken, mm_per_pixel, out) if cfg.explain else None
    rows = []
    for batch in batches:
        results = detector.results(batch)
        rows += [_row(result) for result in results]
        if "png" in maps:
            _draw_maps(detector, batch, out / "maps")
        if "npy" in maps:
            _save_maps(results, out / "maps")
        if explainer is not None:
            explainer.write(batch)
    _write(out / "scores.csv", rows)
    print(f"{_summary(rows, trained.evaluation.conformal_rate)}: {out / 'scores.csv'}")
    for category, sentence in zip(detector.categories, broken, strict=True):
        if sentence and any(row[1] == category for row in rows):
            print(f"warning: {category}: {sentence}")
    if explainer is not None:
        print(f"explained: {explainer.folder}" + (f" ({explainer.missing})" if explainer.missing else ""))


def _maps(cfg: DictConfig) -> set[str]:
    """The kinds of files, png and npy, that maps are written to."""
    given = "png" if cfg.maps is True else str(cfg.maps).lower()
    if given not in MAPS:
        raise ValueError(f"maps is {cfg.maps!r}; allowed: {', '.join(MAPS)} (true means png)")
    return {"false": set(), "both": {"png", "npy"}}.get(given, {given})


def _check(cfg: DictConfig) -> float | None:
    """The millimetres per pixel, after all settings were checked."""
    if not isinstance(cfg.explain, bool):
        raise ValueError(f"explain is {cfg.explain!r}; allowed: true, false")
    size = cfg.batch_size
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValueError(f"batch_size is {size!r}; it must be a whole number, 1 or more")
    if cfg.mm_per_pixel is not None and not cfg.explain:
        raise ValueError(f"mm_per_pixel is {cfg.mm_per_pixel}, but only explanations tell sizes; set explain=true")
    return check_mm_per_pixel(cfg.mm_per_pixel)


def _own_test_images(
    cfg: DictConfig, detector: Detector, trained: DictConfig
) -> tuple[list[str], Iterator[ScoredBatch]]:
    """Names and batches of the run's test images: those of the category that is named, or all of them.

    They are scored with their labels, or without any for category=none.
    """
    from diffect.training.build import attach, open_data

    label = None if cfg.category is None else detector.label_of(cfg.category)
    data = open_data(trained)
    attach(data, detector.predictor.representation, detector.predictor.device)
    positions = [
        position for position, (part, _) in enumerate(data.splits["test"]) if label in (None, data.parts[part].label)
    ]
    samples = [data.sample(*data.splits["test"][position]) for position in positions]
    names = [f"{sample.category}/{sample.name}" for sample in samples]
    unlabelled = cfg.category is not None and label is None

    def batches() -> Iterator[ScoredBatch]:
        loader, size = data.test_dataloader(), cfg.batch_size
        for start in range(0, len(positions), size):
            batch, chunk = loader.batch(positions[start : start + size]), samples[start : start + size]
            if unlabelled:
                del batch["label"]
            sizes = [sample.size() for sample in chunk]
            yield detector.score_batch(names[start : start + size], batch, sizes, [sample.load for sample in chunk])

    return names, batches()


def _row(result: ImageResult) -> tuple[str, ...]:
    """A row of scores.csv, see COLUMNS."""
    flagged = "" if result.flagged is None else str(result.flagged).lower()
    return (
        result.name,
        result.category or "",
        repr(result.score),
        "" if result.threshold is None else repr(result.threshold),
        flagged,
        "" if result.p_value is None else f"{result.p_value:.6g}",
    )


def _summary(rows: Sequence[tuple[str, ...]], rate: float) -> str:
    """How many images were scored and flagged, or why no decision was made."""
    undecided = sum(not row[4] for row in rows)
    reason = f"the run had too few calibration images to promise a rate of {rate:g}"
    if not rows[0][1]:
        reason = "thresholds hold for a category: none was given, and the run does not tell its categories apart"
    parts = [f"{len(rows)} images scored"]
    if undecided < len(rows):
        parts.append(f"{sum(row[4] == 'true' for row in rows)} flagged")
    if undecided:
        which = "" if undecided == len(rows) else f" on {undecided} of them"
        parts.append(f"no decision was made{which}, because {reason}")
    return ", ".join(parts)


def _explainer(
    detector: Detector,
    trained: DictConfig,
    record: Record,
    broken: Sequence[str],
    mm_per_pixel: float | None,
    out: Path,
) -> Explainer:
    """What explains the images, with the run's training images if they are still there."""
    from diffect.explain.nearest import NormalImages
    from diffect.explain.writer import Explainer

    normal, missing = None, ""
    try:
        normal = NormalImages.open(trained, record, detector.predictor)
    except ValueError as error:
        missing = f"no nearest normal patches: {error}"
    return Explainer(detector, trained.evaluation.conformal_rate, broken, mm_per_pixel, normal, missing, out)


def _draw_maps(detector: Detector, batch: ScoredBatch, folder: Path) -> None:
    """A picture of each map, in the colours of its category: a colour is one value, whatever else is scored."""
    from diffect.explain.explanation import ColourScale
    from diffect.explain.writer import stem
    from diffect.training import panel

    maps = batch.prediction.map.cpu().numpy()
    images = batch.batch["image"].permute(0, 2, 3, 1).numpy()
    for row, (name, label) in enumerate(zip(batch.names, batch.labels, strict=True)):
        scale = ColourScale.of(None if label is None else detector.calibrations[label].outline)
        one = slice(row, row + 1)
        (picture,) = panel.overlay(maps[one], images[one], scale.low, scale.twice)
        path = folder / f"{stem(name)}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        panel.save(picture, path)


def _save_maps(results: Sequence[ImageResult], folder: Path) -> None:
    """The map of each image, at the image's own size, float32."""
    from diffect.explain.writer import stem

    for result in results:
        buffer = io.BytesIO()
        np.save(buffer, result.map)
        write_atomic(folder / f"{stem(result.name)}.npy", buffer.getvalue())


def _write(path: Path, rows: Sequence[tuple[str, ...]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(rows)
    write_atomic(path, buffer.getvalue())
