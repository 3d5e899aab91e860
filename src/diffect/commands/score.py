"""diffect score: judge images, new ones or a run's own test images, with a finished run."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from diffect.data import decode
from diffect.data.cache import content_key
from diffect.data.canvas import fit_to_canvas, inside
from diffect.data.layout import EXTENSIONS
from diffect.runs import record as records


def run(cfg: DictConfig) -> None:
    """Write `out`/scores.csv (name, category, score, threshold, flagged) and `out`/maps/*.png.

    `flagged` says whether the score exceeds the run's conformal threshold; it is empty where the run has none.
    """
    from diffect import assembly

    folder = Path(str(cfg.run)).expanduser()
    trained, detector, thresholds = assembly.restore(folder)
    images = _own(trained) if cfg.images is None else _given(cfg, detector.categories)
    name = "test" if cfg.images is None else Path(str(cfg.images)).expanduser().resolve().stem
    out = Path(str(cfg.out)).expanduser() if cfg.out else folder / "scored" / name
    shutil.rmtree(out / "maps", ignore_errors=True)  # maps of an earlier call would stand beside other scores
    # As training found them: found again on a batch, a score would depend on its neighbours.
    told = records.read(folder / records.RECORD)["splits"]
    canvas = int(told["canvas"][0]), int(told["canvas"][1])
    bits = [int(told["categories"][category]["grey_bits"]) for category in detector.categories]
    rows: list[tuple[str, str, str, str, str]] = []
    low = high = 0.0
    for batch in _batches(images, cfg.batch_size):
        found = _judge(batch, detector, canvas, trained.data.aspect, bits)
        if not rows:  # one colour scale for all maps: the first batch's lowest value to twice its median peak
            low, high = float(found["maps"].min()), 2 * float(np.median(found["maps"].max((1, 2))))
        for place, (name, label, _) in enumerate(batch):
            score, threshold = float(found["scores"][place]), thresholds[label]
            flagged = "" if threshold is None else str(score > threshold).lower()
            rows.append((name, detector.categories[label], repr(score), _text(threshold), flagged))
        if cfg.maps:
            _draw(batch, found, out / "maps", low, high)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("name", "category", "score", "threshold", "flagged"))
    writer.writerows(rows)
    records.write_atomic(out / "scores.csv", buffer.getvalue())
    count = sum(row[-1] == "true" for row in rows)
    flags = f"{count} flagged" if None not in thresholds else "none flagged: the run had too few calibration images"
    print(f"{len(rows)} images scored, {flags}: {out / 'scores.csv'}")


def _own(trained: DictConfig) -> list[tuple[str, int, Path]]:
    """(name, label, path) of the run's own test images."""
    from diffect.assembly import open_data

    data = open_data(trained)
    found = []
    for label, row in data.splits["test"]:
        sample = data.sample(label, row)
        found.append((f"{sample.category}/{sample.name}", label, sample.path))
    return found


def _given(cfg: DictConfig, categories: list[str]) -> list[tuple[str, int, Path]]:
    """(name, label, path) of the images that were asked for."""
    place = Path(str(cfg.images)).expanduser()
    if len(categories) > 1 and cfg.category not in categories:
        raise ValueError(f"category is {cfg.category}; this run holds several, say which: {', '.join(categories)}")
    if cfg.category is not None and cfg.category not in categories:
        raise ValueError(f"category is {cfg.category}; this run holds {', '.join(categories)}")
    label = categories.index(cfg.category) if cfg.category else 0
    if place.is_file():
        return [(place.name, label, place)]
    if not place.is_dir():
        raise ValueError(f"images is {place}: there is no such file or folder")
    paths = sorted(path for path in place.rglob("*") if path.suffix.lower() in EXTENSIONS)
    if not paths:
        raise ValueError(f"images is {place}: it holds no image ({', '.join(EXTENSIONS)})")
    return [(path.relative_to(place).as_posix(), label, path) for path in paths]


def _batches(images: list[tuple[str, int, Path]], size: int) -> Iterator[list[tuple[str, int, Path]]]:
    if size < 1:
        raise ValueError(f"batch_size is {size}; it must be 1 or more")
    for start in range(0, len(images), size):
        yield images[start : start + size]


def _judge(
    batch: list[tuple[str, int, Path]], detector: Any, canvas: tuple[int, int], aspect: str, bits: list[int]
) -> dict[str, Any]:
    """Fitted images (B, H, W, 3), maps (B, H, W) and scores (B,) as arrays."""
    import torch

    fitted = [fit_to_canvas(decode.read_image(path, bits[label])[0], None, canvas, aspect) for _, label, path in batch]
    pixels = np.stack([image for image, _, _ in fitted])
    valid = inside(canvas, (box for _, _, box in fitted))
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(detector.device)
    with torch.no_grad():
        maps, scores = detector.judge(
            {
                "raw": detector.representation.extract(images),
                "label": torch.tensor([label for _, label, _ in batch], device=detector.device),
                "key": torch.tensor([content_key(image) for image in pixels]),
                "valid": torch.from_numpy(valid).to(detector.device),
            }
        )
    return {"images": pixels, "maps": maps.cpu().numpy(), "scores": scores.cpu().numpy()}


def _draw(batch: list[tuple[str, int, Path]], found: dict[str, Any], folder: Path, low: float, high: float) -> None:
    from diffect import panel

    pictures = panel.overlay(found["maps"], found["images"], low, high)
    for (name, _, _), picture in zip(batch, pictures, strict=True):
        path = folder / (name if name.lower().endswith(".png") else f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        panel.save(picture, path)


def _text(threshold: float | None) -> str:
    return "" if threshold is None else repr(threshold)
