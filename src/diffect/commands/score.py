"""diffect score: judge images, new ones or a run's own test images, with a finished run."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from diffect.data import decode
from diffect.data.cache import content_key
from diffect.data.canvas import fit_to_canvas, inside
from diffect.data.layout import EXTENSIONS
from diffect.runs import record as records

if TYPE_CHECKING:
    from diffect.explaining.writer import Explainer, Judged

BLIND = "none"  # as a category: scored without telling any
Images = list[tuple[str, int | None, Path]]  # name, label (None: class-blind), path


def run(cfg: DictConfig) -> None:
    """Write `out`/scores.csv (name, category, score, threshold, flagged), `out`/maps/*.png and `out`/explained/.

    `category` is that which the image was judged as: the one that was told, or class-blind that which the run takes
    it for; empty where the run does not tell its categories apart. `flagged` says whether the score exceeds the run's
    conformal threshold; it is empty where the run has none, and where images are scored class-blind, for thresholds
    hold for a category. What is explained: see `explaining`.
    """
    from diffect import assembly
    from diffect.explaining.regions import check_scale

    folder = Path(str(cfg.run)).expanduser()
    scale = check_scale(cfg.scale)
    trained, detector, thresholds = assembly.restore(folder)
    known = _category(cfg, detector.categories)
    images = _own(trained, cfg.category, known) if cfg.images is None else _given(cfg, detector.categories, known)
    name = "test" if cfg.images is None else Path(str(cfg.images)).expanduser().resolve().stem
    out = Path(str(cfg.out)).expanduser() if cfg.out else folder / "scored" / name
    for made in ("maps", "explained"):  # those of an earlier call would stand beside other scores
        shutil.rmtree(out / made, ignore_errors=True)
    # As training found them: found again on a batch, a score would depend on its neighbours.
    record = records.read(folder / records.RECORD)
    told = record["splits"]
    canvas = int(told["canvas"][0]), int(told["canvas"][1])
    bits = [int(told["categories"][category]["grey_bits"]) for category in detector.categories]
    explainer = _explainer(detector, thresholds, trained, record, scale, out) if cfg.explain else None
    rows: list[tuple[str, str, str, str, str]] = []
    low = high = 0.0
    for batch in _batches(images, cfg.batch_size):
        found = _judge(batch, detector, canvas, trained.data.aspect, bits)
        maps = found.judgement.maps.cpu().numpy()
        if not rows:  # one colour scale for all maps: the first batch's lowest value to twice its median peak
            low, high = float(maps.min()), 2 * float(np.median(maps.max((1, 2))))
        scores = found.judgement.scores.tolist()
        for (name, label, _), category, score in zip(batch, found.categories, scores, strict=True):
            threshold = None if label is None else thresholds[label]
            flagged = "" if threshold is None else str(score > threshold).lower()
            whose = "" if category is None else detector.categories[category]
            rows.append((name, whose, repr(score), _text(threshold), flagged))
        if cfg.maps:
            _draw(found.names, maps, found.images, out / "maps", low, high)
        if explainer is not None:
            explainer.write(found)
    _write(out / "scores.csv", rows)
    reason = "class-blind" if images[0][1] is None else "the run had too few calibration images"
    count, judged = sum(row[-1] == "true" for row in rows), any(row[-1] for row in rows)
    flags = f"{count} flagged" if judged else f"none flagged: {reason}"
    print(f"{len(rows)} images scored, {flags}: {out / 'scores.csv'}")
    if explainer is not None:
        print(f"explained: {explainer.folder}" + (f" ({explainer.missing})" if explainer.missing else ""))


def _category(cfg: DictConfig, categories: list[str]) -> int | None:
    """The label of the category that was named, 0 where none was; None for class-blind."""
    named = cfg.category
    if named is None:
        return 0
    if named == BLIND and BLIND not in categories:
        return None
    if named not in categories:
        raise ValueError(
            f"category is {named}, which training never saw; it saw {', '.join(categories)} (or category={BLIND}, to "
            "score class-blind)"
        )
    return categories.index(named)


def _own(trained: DictConfig, named: str | None, label: int | None) -> Images:
    """The run's own test images, those of the category that was named, or all, class-blind or with their labels."""
    from diffect.assembly import open_data

    data = open_data(trained)
    found: Images = []
    for part, row in data.splits["test"]:
        sample = data.sample(part, row)
        own = data.categories.index(sample.category)
        if named is None or label in (None, own):
            found.append((f"{sample.category}/{sample.name}", None if label is None else own, sample.path))
    return found


def _given(cfg: DictConfig, categories: list[str], label: int | None) -> Images:
    """The images that were asked for."""
    place = Path(str(cfg.images)).expanduser()
    if len(categories) > 1 and cfg.category is None:
        raise ValueError(
            f"category is not set; this run holds several, say which: {', '.join(categories)} (or category={BLIND}, "
            "to score class-blind)"
        )
    if place.is_file():
        return [(place.name, label, place)]
    if not place.is_dir():
        raise ValueError(f"images is {place}: there is no such file or folder")
    paths = sorted(path for path in place.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not paths:
        raise ValueError(f"images is {place}: it holds no image ({', '.join(EXTENSIONS)})")
    return [(path.relative_to(place).as_posix(), label, path) for path in paths]


def _explainer(
    detector: Any,
    thresholds: list[float | None],
    trained: DictConfig,
    record: records.Record,
    scale: float | None,
    out: Path,
) -> Explainer:
    """What explains the images, with the run's training images where they are still there."""
    from diffect.explaining.nearest import NormalImages
    from diffect.explaining.writer import Explainer

    normal, missing = None, ""
    try:
        normal = NormalImages.open(trained, record, detector.representation)
    except ValueError as error:
        missing = f"no nearest normal patches: {error}"
    return Explainer(detector, thresholds, trained.evaluation.conformal_rate, scale, normal, missing, out)


def _batches(images: Images, size: int) -> Iterator[Images]:
    if size < 1:
        raise ValueError(f"batch_size is {size}; it must be 1 or more")
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _judge(batch: Images, detector: Any, canvas: tuple[int, int], aspect: str, bits: list[int]) -> Judged:
    """The images of a batch, fitted to the canvas and judged."""
    import torch

    from diffect.explaining.regions import Fitting
    from diffect.explaining.writer import Judged

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
    if found.label is not None:  # also where it is the category that explains an image best
        given["label"] = found.label
    fittings = [Fitting(box, *one.shape[:2]) for (_, _, box), one in zip(fitted, photographs, strict=True)]
    names = [name for name, _, _ in batch]
    return Judged(names, labels, photographs, fittings, pixels, given, found)


def _draw(
    names: Sequence[str],
    maps: NDArray[np.float32],
    images: NDArray[np.uint8],
    folder: Path,
    low: float,
    high: float,
) -> None:
    from diffect import panel

    for name, picture in zip(names, panel.overlay(maps, images, low, high), strict=True):
        path = folder / (name if name.lower().endswith(".png") else f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        panel.save(picture, path)


def _write(path: Path, rows: list[tuple[str, str, str, str, str]]) -> None:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("name", "category", "score", "threshold", "flagged"))
    writer.writerows(rows)
    records.write_atomic(path, buffer.getvalue())


def _text(threshold: float | None) -> str:
    return "" if threshold is None else repr(threshold)
