"""Made-up records for the tests: flat dictionaries that are easily changed, and the records made of them."""

import hashlib
import zlib
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from diffect.runs import record_file
from diffect.runs.record import GAINS, METRICS, Record
from diffect.runs.table import Run

EFFECT = {"cosine": 0.03, "linear": 0.0, "edm": -0.02, "laplace": 0.01}
REPLICATES = 200
MEASURED = tuple(metric for metric in METRICS if metric.name not in GAINS.values())  # without an untrained twin
_RESULTS = ("metrics", "intervals", "replicates", "undefined", "scores", "untrained")
_PROVENANCE = ("device", "versions", "created")


def schedule(name: str, shift: float = 0.0) -> dict[str, Any]:
    """A schedule entry: log-SNR falls from 10 to -10, its density is a bump at `shift`."""
    t = np.linspace(0.0, 1.0, 129)
    log_snr = 10.0 - 20.0 * t
    density = np.exp(-0.5 * ((log_snr - shift) / 3.0) ** 2) / (3.0 * np.sqrt(2.0 * np.pi))
    weight = density / (1.0 + np.exp(log_snr - 2.0))
    curves = {"t": t, "log_snr": log_snr, "density": density, "weight": weight}
    return {"name": name, **{key: curve.tolist() for key, curve in curves.items()}}


def make(
    name: str = "cosine", category: str = "brick", seed: int = 0, study: str = "demo", **changes: Any
) -> dict[str, Any]:
    """A finished record, flat; figures depend on name, category and seed, resamples on the category alone."""
    rng = np.random.default_rng(zlib.crc32(f"{name} {category} {seed}".encode()))
    shared = np.random.default_rng(zlib.crc32(category.encode()))
    values: dict[str, Any] = {}
    replicates: dict[str, list[float]] = {}
    for metric in MEASURED:
        value = 0.88 + EFFECT.get(name, 0.0) + 0.02 * float(rng.standard_normal())
        values[metric.name] = 0.05 if metric.name == "conformal_fpr" else value
        replicates[metric.name] = (value + 0.03 * shared.standard_normal(REPLICATES)).tolist()
    values["latency_ms"] = 12.0 + float(rng.random())
    del replicates["latency_ms"]
    choices = {"schedule": name, "denoiser": "conv", "data": "textures", "data.category": category}
    flat: dict[str, Any] = {
        "status": "finished",
        "error": None,
        "signature": hashlib.sha256(f"{study} {name} {category} {seed}".encode()).hexdigest()[:12],
        "study": study,
        "seed": seed,
        "choices": choices,
        "config": {"seed": seed, "evidence": True, "study_note": None, "trainer": {"max_steps": 200}},
        "without_effect": ["data.cache", "data.root", "evidence", "panel", "study", "study_note", "tracking"],
        "categories": [category],
        "metrics": {category: values},
        "intervals": {category: {key: [value - 0.06, value + 0.06] for key, value in values.items()}},
        "replicates": {category: replicates},
        "scores": {
            category: [
                {"name": f"test/good/{i:03d}.png", "defect": "good", "anomalous": False, "score": i / 7}
                for i in range(3)
            ]
        },
        "training": {"steps": 100, "loss_initial": 1.0, "loss_best": 0.5, "losses": [[0, 1.0], [100, 0.5]]},
        "description": {"schedule": "a schedule"},
        "schedule": schedule(name, 50 * EFFECT.get(name, 0.0)),
        "audit": {category: {"shared": 0, "near": 0, "trivial": {"brightness": 0.6}, "warning": None}},
        "device": "cpu AMD EPYC, 1 thread",
        "versions": {"diffect": "0.1.0"},
        "created": "2026-01-01T00:00:00Z",
    }
    return {**flat, **changes}


def content(flat: dict[str, Any]) -> dict[str, Any]:
    """What record.json holds of a flat record: results are kept by category, provenance is a part of its own."""
    found = {key: value for key, value in flat.items() if key not in (*_RESULTS, *_PROVENANCE, "levels")}
    found["format"] = 2
    found["provenance"] = {key: flat[key] for key in _PROVENANCE if key in flat}
    found["results"] = {}
    for category in flat["metrics"]:
        result = {key: flat[key][category] for key in _RESULTS if category in (flat.get(key) or {})}
        rows = (flat.get("levels") or {}).get(category, ())
        result["levels"] = [
            {"log_snr": row["log_snr"], "metrics": {key: row[key] for key in row if key != "log_snr"}} for row in rows
        ]
        found["results"][category] = result
    return found


def record_of(flat: dict[str, Any]) -> Record:
    """The record of a flat one."""
    return record_file.parse(content(flat))


def run_of(folder: Path, flat: dict[str, Any]) -> Run:
    """The run of a flat record."""
    return Run(folder, record_of(flat))


def study_records(
    names: tuple[str, ...] = ("cosine", "edm", "laplace", "linear"),
    categories: tuple[str, ...] = ("brick", "grass", "gravel"),
    seeds: tuple[int, ...] = (0, 1),
    **changes: Any,
) -> list[dict[str, Any]]:
    """A crossed study: names x categories x seeds."""
    return [make(n, c, s, **changes) for n in names for c in categories for s in seeds]


def sweep_records(
    sweep: dict[str, tuple[str, ...]],
    names: tuple[str, ...] = ("cosine",),
    categories: tuple[str, ...] = ("brick", "grass", "gravel"),
    seeds: tuple[int, ...] = (0, 1),
) -> list[dict[str, Any]]:
    """A crossed study with keys that were swept too, as {"data.shots": ("1", "2", "null")}; figures depend on all."""
    records = []
    for values in product(*sweep.values()):
        for flat in study_records(names, categories, seeds):
            rng = np.random.default_rng(zlib.crc32(f"{flat['signature']} {values}".encode()))
            shift = 0.02 * float(rng.standard_normal())
            (category,) = flat["categories"]
            for metric in ("image_auroc", "pixel_aupro_30"):
                flat["metrics"][category][metric] += shift
                flat["replicates"][category][metric] = [one + shift for one in flat["replicates"][category][metric]]
            flat["choices"] |= dict(zip(sweep, values, strict=True))
            flat["signature"] = f"{len(records):012x}"
            records.append(flat)
    return records


def lay(folder: Path, records: list[dict[str, Any]]) -> Path:
    """Write each record into `folder`/<signature>/, as runs do, and return `folder`."""
    for flat in records:
        record_file.write(folder / flat["signature"], record_of(flat))
    return folder


def lay_galleries(folder: Path, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records laid into `folder`, each with a gallery of two images; their photographs are those of all runs."""
    from PIL import Image

    for number, flat in enumerate(records):
        place = folder / flat["signature"] / "gallery"
        place.mkdir(parents=True)
        for kind, shade in (("image", 90), ("map", 100 + number % 100), ("mask", 0)):
            Image.fromarray(np.full((48, 64, 3), shade, np.uint8)).save(place / f"0_{kind}.png")
        entry = {"name": "test/cut/000.png", "defect": "cut", "anomalous": True, "score": 1.25, "threshold": 2.0}
        entry |= {"kind": "miss", **{kind: f"gallery/0_{kind}.png" for kind in ("image", "map", "mask")}}
        good = {
            **entry,
            "name": "test/good/001.png",
            "defect": "good",
            "anomalous": False,
            "kind": "pass",
            "mask": None,
        }
        flat["gallery"] = {flat["categories"][0]: [entry, good]}
    lay(folder, records)
    return records
