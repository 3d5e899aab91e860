"""Studies made of made-up records: of four schedules, or of detectors of stated power."""

from pathlib import Path
from typing import Any

import numpy as np
from records import make, run_of

from diffect.reports import build, study
from diffect.reports.comparison import COMPARED

POWER = {"padim": 0.95, "diffusion": 0.9, "noise": 0.5}
CATEGORIES = ("bottle", "cable")


def detection(names: tuple[str, ...] = tuple(POWER), seeds: int = 5, **changes: Any) -> list[dict[str, Any]]:
    """A study of detectors whose figures differ by their power, and a little by the seed and the test images."""
    records = []
    for name in names:
        for category in CATEGORIES:
            for seed in range(seeds):
                record = make(name, category, seed, **changes)
                record["config"]["denoiser"] = {"_target_": name}
                record["choices"] = {"data.category": category, "detector": name, "denoiser": f"{name} net"}
                rng = np.random.default_rng([len(name), seed])
                for metric in COMPARED:
                    value = POWER[name] + 0.002 * float(rng.standard_normal())
                    shared = np.random.default_rng(len(category)).standard_normal(200)
                    record["metrics"][category][metric] = value
                    drawn = value + 0.03 * shared + 0.002 * rng.standard_normal(200)
                    record["replicates"][category][metric] = drawn.tolist()
                records.append(record)
    return records


def built(records: list[dict[str, Any]], **arguments: Any) -> study.Study:
    return build.build_study("demo", [run_of(Path(record["signature"]), record) for record in records], **arguments)
