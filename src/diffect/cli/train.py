"""diffect train: one run, unless it is finished already."""

import contextlib
import sys
from functools import partial
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, ListConfig

from diffect.config import inert, validate
from diffect.errors import listed
from diffect.runs import doubts, record_file
from diffect.runs.record import METRICS, CategorySplit, Record
from diffect.storage.lock import once
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
    "training",
    "trainer",
)


def run(cfg: DictConfig) -> dict[str, Any]:
    """Train, test and record, unless the run is finished already. Returns what the progress of a study shows."""
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    try:
        check(cfg)
        if hydra.mode == RunMode.RUN:  # a sweep was looked at as a whole, before its first run
            inert.refuse([inert.Job.of(hydra.overrides.task, cfg, hydra.runtime.choices["denoiser"])])
        alone = hydra.mode == RunMode.RUN
        record, found = made(cfg, folder, choices(hydra), wait=alone)
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # only if the run failed before it wrote anything
    if alone:
        show(record, folder, found)
    return {"line": line(record), "found": found, "folder": str(folder.absolute())}


def made(
    cfg: DictConfig, folder: Path, chosen: dict[str, str], wait: bool = True, parent: str | None = None
) -> tuple[Record, bool]:
    """The record of a run, and whether it was finished already.

    Args:
        cfg: its config.
        folder: of the run.
        chosen: what was chosen, for the record.
        wait: for another process that makes the same run.
        parent: signature of the run that normal images are added to, if this is such a run.
    """
    name = fingerprint.of(cfg)

    def make() -> Record:
        # torch and Lightning cost seconds to import: a finished run must not pay for them.
        from diffect.training.run import Run

        return Run(cfg, folder, name, chosen, parent=parent).execute()

    return once(folder, partial(record_file.finished, folder, name), make, wait=wait)


def check(cfg: DictConfig) -> None:
    """Refuse missing and wrong values, and a run that cannot be fine-tuned, before anything is imported or written."""
    validate.check(cfg, fingerprint.section_of(cfg))
    steps, every = cfg.training.steps, cfg.training.validate_every
    if steps % every:
        raise ValueError(
            f"training.validate_every is {every}; it must divide training.steps, {steps}, so that the last step is "
            "validated"
        )
    _check_trainer(cfg.trainer)
    finetuning.check(cfg)


def _check_trainer(trainer: DictConfig) -> None:
    """Refuse what a run cannot do with Lightning's Trainer; everything else that it takes is used."""
    one = "one run uses one device; give each device its runs by a sweep"
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


def line(record: Record) -> str:
    """One line about a finished run: the means over its categories of three figures, its time, and unclear gains."""
    parts = [record.signature]
    for name in ("image_auroc", "image_tpr_at_5fpr", "pixel_aupro_30"):
        values = [result.metrics.get(name) for result in record.results.values()]
        if known := [value for value in values if value is not None]:
            parts.append(f"{name} {sum(known) / len(known):.3f}")
    parts.append(f"{record.seconds['total']:.0f} s")
    if unclear := [category for category in record.categories if doubts.unclear_gain(record, category)]:
        parts.append(f"no clear gain over untrained on {listed(unclear)}")
    return "  ".join(parts)


def show(record: Record, folder: Path, found: bool) -> None:
    """Print the figures of a finished run."""
    print(f"run {record.signature} {'was finished already' if found else 'finished'}: {folder}")
    if record.parent is not None:
        print(f"normal images were added to those of run {record.parent}")
    for category, result in record.results.items():
        print(f"\n{category}")
        if category in record.splits.categories:
            print(f"  {_images(record.splits.categories[category])}")
            for note in record.splits.categories[category].notes:
                print(f"  note: {note}")
        undefined: dict[str, list[str]] = {}  # titles by the reason
        for metric in (one for one in METRICS if one.name in result.metrics):
            value, interval = result.metrics[metric.name], result.intervals.get(metric.name)
            if value is None:
                undefined.setdefault(result.undefined.get(metric.name, "unknown"), []).append(metric.title)
                continue
            shown = f"{value:.1f}" if metric.name == "latency_ms" else f"{value:{'+' * (metric.low < 0)}.4f}"
            spread = f"  [{interval[0]:.4f}, {interval[1]:.4f}]" if interval else ""
            print(f"  {metric.title:16} {shown:>10}{spread}")
        for reason, titles in undefined.items():
            print(f"  undefined, {reason}: {', '.join(titles)}")
        audit = record.audit.get(category)
        if audit and audit.warning:
            print(f"  warning: {audit.warning}")
        for warning in filter(None, (doubts.unclear_gain(record, category), doubts.broken_promise(record, category))):
            print(f"  warning: {warning}")
    sys.stdout.flush()


def _images(split: CategorySplit) -> str:
    """How many images of a category were used for what, and what was done to them."""
    counts = {name: getattr(split, name) for name in ("fit", "selection", "calibration", "test")}
    groups = {name: f" in {number} groups" for name, number in split.split_groups.items() if number != counts[name]}
    if split.copies:
        groups["fit"] = f"{groups.get('fit', '')} and {split.copies} copies"
    said = [", ".join(f"{name} {count}{groups.get(name, '')}" for name, count in counts.items() if count)]
    for numbers, what in ((split.contaminated, "defective among the normal ones"), (split.dropped, "left out")):
        if found := [f"{name} {number}" for name, number in numbers.items() if number]:
            said.append(f"{what}: {', '.join(found)}")
    if split.added:
        said.append(f"{split.added} of them added to those of the source")
    if not split.selection:
        said.append("none held out for selection")
    return f"images: {'; '.join(said)}"
