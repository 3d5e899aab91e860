"""diffect train: one run, unless it is finished already."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig

from diffect.config import inert, settings, validate
from diffect.errors import listed
from diffect.runs import record as records
from diffect.training import finetuning, fingerprint

GROUPS = (
    "data",
    "schedule",
    "weight",
    "representation",
    "backbone",
    "outlier_removal",
    "denoiser",
    "scorer",
    "head",
    "anomaly_map",
    "trainer",
)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Train, test and record; a finished run is found, not repeated. Returns what a study's progress shows."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    try:
        check(cfg)
        if hydra.mode == RunMode.RUN:  # a sweep was looked at as a whole, before its first run
            inert.refuse([inert.Job.of(hydra.overrides.task, cfg, hydra.runtime.choices["denoiser"])])
        name = fingerprint.of(cfg)
        found = records.finished(folder, name)
        if found is None:
            # torch and Lightning cost seconds to import: a finished run must not pay for them.
            from diffect.training.run import Run

            record = Run(cfg, folder, name, choices(hydra)).carry_out()
        else:
            record = found
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only if the run failed before it wrote anything
    if hydra.mode == RunMode.RUN:
        _tell(record, folder, found is not None)
    return {"line": line(record), "found": found is not None}


def check(cfg: DictConfig) -> None:
    """What can be refused before anything is imported, written or trained: missing values, wrong ones, a `start`."""
    validate.check(cfg, settings.Tune if "tune" in cfg else settings.Train)
    steps, every = cfg.training.steps, cfg.training.validate_every
    if steps % every:
        raise ValueError(
            f"training.validate_every is {every}; it must divide training.steps, {steps}, so that the last step is "
            "looked at too"
        )
    _check_trainer(cfg.trainer)
    finetuning.check(cfg)


def _check_trainer(trainer: DictConfig) -> None:
    """Refuse what a run cannot do with Lightning's Trainer; everything else that it takes is used."""
    one = "one run uses one device; give each device runs of its own by a sweep"
    devices = trainer.devices
    if devices not in (1, "1") and not (isinstance(devices, ListConfig) and len(devices) == 1):
        raise ValueError(f"trainer.devices is {devices}; it must be 1, or [N] for the device of that number: {one}")
    for key, allowed in (("num_nodes", (1,)), ("strategy", ("auto", "single_device"))):
        if trainer.get(key, allowed[0]) not in allowed:
            raise ValueError(f"trainer.{key} is {trainer[key]}; it must be {listed(allowed, 'or')}: {one}")
    if trainer.get("logger") is True:
        raise ValueError("trainer.logger is true; name the logger: '+trainer.logger={_target_: CLASS, ...}'")
    if trainer.get("enable_checkpointing") is False:
        raise ValueError("trainer.enable_checkpointing is false; a run needs its checkpoints: leave it out")


def choices(hydra: Any) -> dict[str, str]:
    """What was chosen: the option of every config group, and every key that was overridden by hand or by a sweep."""
    chosen = {group: str(hydra.runtime.choices[group]) for group in GROUPS}
    for override in hydra.overrides.task:
        key, _, value = str(override).lstrip("+~").partition("=")
        if key not in (*GROUPS, "seed", "study", "experiment"):
            chosen[key] = value
    return chosen


def line(record: records.Record) -> str:
    """One line about a finished run: the means over its categories of three figures, and its time."""
    parts = [record["signature"]]
    for name in ("image_auroc", "image_tpr_at_5fpr", "pixel_aupro_30"):
        known = [values[name] for values in record["metrics"].values() if values.get(name) is not None]
        if known:
            parts.append(f"{name} {sum(known) / len(known):.3f}")
    return "  ".join([*parts, f"{record['seconds']['total']:.0f} s"])


def _tell(record: records.Record, folder: Path, found: bool) -> None:
    print(f"run {record['signature']} {'was finished already' if found else 'finished'}: {folder}")
    for category, values in record["metrics"].items():
        print(f"\n{category}")
        counts = ((record.get("splits") or {}).get("categories") or {}).get(category)
        if counts:
            print(f"  {_images(counts)}")
        for metric in records.METRICS:
            value = values.get(metric.name)
            interval = record["intervals"][category].get(metric.name)
            reason = record.get("undefined", {}).get(category, {}).get(metric.name, "")
            shown = "undefined" if value is None else f"{value:.4f}" if metric.name != "latency_ms" else f"{value:.1f}"
            spread = f"  [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
            print(f"  {metric.title:16} {shown:>10}{spread}" + (f"  {reason}" if value is None else ""))
        warning = record["audit"].get(category, {}).get("warning")
        if warning:
            print(f"  warning: {warning}")
        if broken := records.broken_promise(record, category):
            print(f"  warning: {broken}")
    sys.stdout.flush()


def _images(counts: dict[str, Any]) -> str:
    """How many images of a category were used for what, where any are, and what was done to them."""
    copies = {"fit": f" and {counts['copies']} copies"} if "copies" in counts else {}
    splits = ("fit", "selection", "calibration", "test")
    said = [", ".join(f"{name} {counts[name]}{copies.get(name, '')}" for name in splits if counts[name])]
    for key, what in (("dirty", "defective among the normal ones"), ("dropped", "left out")):
        if found := [f"{name} {number}" for name, number in counts.get(key, {}).items() if number]:
            said.append(f"{what}: {', '.join(found)}")
    if not counts["selection"]:
        said.append("none held out, so that the last step counts and no threshold is set")
    return f"images: {'; '.join(said)}"
