"""`diffect data`: check a data set, say what it holds, audit it; or download one."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from diffect.config import settings, validate
from diffect.config.description import counted
from diffect.data import decode
from diffect.data.sample import Sample
from diffect.data.sources import download, folders


def run(cfg: DictConfig) -> None:
    """Decode and check every image and mask of `data`, print counts, splits and the audit.

    With `download=NAME` that data set is fetched into `root` instead. ValueError for the first fault.
    """
    validate.check(cfg, settings.Data)
    if cfg.download:
        where = download.fetch(str(cfg.download), cfg.root, cfg.accept_license, cfg.url, cfg.sha256)
        print(f"{cfg.download} is in {where}; check it with `diffect data data=mvtec data.root={where}`")
        return
    module = instantiate(cfg.data)
    module.setup()
    summary = module.summary()
    held = summary["categories"]
    samples = {category: module.parts[label].samples for label, category in enumerate(module.categories)}
    audited = module.audit()
    print(_table([_contents(category, counts, samples[category]) for category, counts in held.items()]))
    print(f"\nsplits (data.seed={module.seed}):")
    print(_table([_splits(category, counts) for category, counts in held.items()]))
    if "contamination_from" in summary:
        print(f"contamination: {summary['contamination_from']}")
    print("\naudit: AUROC of one trivial statistic alone, + higher or - lower on defective images")
    print(_table([_audit(category, found) for category, found in audited.items()]))
    said = defaultdict(list)  # a remark, and the categories that it is about
    for category, found in audited.items():
        for remark in _remarks(found, held[category]):
            said[remark].append(category)
    for remark, categories in said.items():
        print(f"{', '.join(categories)}: {remark}")


def _remarks(audited: dict[str, Any], held: dict[str, Any]) -> list[str]:
    """What should be known about a category."""
    remarks = [f"warning: {audited['warning']}"] if audited["warning"] else []
    remarks += [f"{test} is a copy or near-copy of {train}" for test, train in audited["examples"]]
    quiet = held.get("ignored", {}).items()
    remarks += [f"{counted(n, 'file')} ignored ({why})" for why, n in quiet if why in folders.EXPECTED]
    return remarks + held["notes"]


def _contents(category: str, counts: dict[str, Any], samples: list[Sample]) -> dict[str, str]:
    modes = Counter(decode.mode_of(one.path) for one in samples if one.path is not None)
    axes = zip(*(reversed(one.size()) for one in samples), strict=True)  # width before height
    defects = {name: number for name, number in counts["defects"].items() if name != "good"}
    return {
        "category": category,
        "train": str(counts["train"]),
        "test good": str(counts["defects"].get("good", 0)),
        "test defective": ", ".join(f"{name} {number}" for name, number in defects.items()) or "none",
        "masks": str(counts["masks"]),
        "size": " x ".join(map(_range, axes)),
        "mode": ", ".join(mode for mode, _ in modes.most_common()) or "n/a",
    }


def _splits(category: str, counts: dict[str, Any]) -> dict[str, str]:
    groups = counts["split_groups"]
    cells = {"category": category} | {name: str(counts[name]) for name in groups}
    cells["groups of each"] = ", ".join(map(str, groups.values()))
    if "copies" in counts:
        cells["copies of fit"] = str(counts["copies"])
    if "contaminated" in counts:
        numbers = [f"{name} {number}" for name, number in counts["contaminated"].items() if number]
        cells["contaminated"] = ", ".join(numbers) or "none"
    return cells


def _audit(category: str, found: dict[str, Any]) -> dict[str, str]:
    counts = {"test in train": "shared", "test nearly in train": "near", "copies or near-copies in train": "copies"}
    cells = {"category": category} | {title: str(found[name]) for title, name in counts.items()}
    for name, area in found["trivial"].items():
        sign = "+" if found["direction"].get(name) == "higher" else "-"
        cells[name.replace("_", " ")] = "n/a" if area is None else f"{area:.2f}{'' if area == 0.5 else sign}"
    return cells


def _range(values: Iterable[int]) -> str:
    values = list(values)
    low, high = min(values), max(values)
    return str(low) if low == high else f"{low}-{high}"


def _table(rows: list[dict[str, str]]) -> str:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )
