"""Where the conformal threshold does not keep the false-positive rate that it promises."""

from collections.abc import Mapping, Sequence

from diffect.reports.notes import listed
from diffect.runs.grid import Group
from diffect.runs.statistics import Estimate
from diffect.runs.table import Run

_RATE = 0.05  # of runs whose config does not say


def note(groups: Sequence[Group], rates: Mapping[str, Sequence[Estimate]]) -> str:
    """The groups and categories whose conformal FPR has a 95% interval above the promised rate, and what it means.

    `rates` are the estimates of the FPR by category, each in the order of the groups. Nothing where all keep it.
    """
    broken: dict[str, list[str]] = {}
    promised: set[float] = set()
    for category, row in rates.items():
        for group, estimate in zip(groups, row, strict=True):
            rate = max((_promised(run) for (name, _), run in group.by_cell.items() if name == category), default=_RATE)
            if estimate.value is None or estimate.half is None or estimate.value - estimate.half <= rate:
                continue
            broken.setdefault(category, []).append(group.label)
            promised.add(rate)
    if not broken:
        return ""
    told = "; ".join(category + (f": {listed(names)}" if any(names) else "") for category, names in broken.items())
    return (
        f"conformal FPR: the promised rate of {' or '.join(f'{rate:g}' for rate in sorted(promised))} is not kept, the"
        f" 95% interval lies above it ({told}): there calibration and test images are not exchangeable, and conformal"
        " TPR is worth nothing."
    )


def _promised(run: Run) -> float:
    return float(run.record.config.get("evaluation", {}).get("conformal_rate", _RATE))
