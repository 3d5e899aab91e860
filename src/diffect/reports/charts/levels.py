"""What each scoring level alone would give, by group; and the groups without figures by level."""

from diffect.reports.study import Study
from diffect.runs.grid import Group
from diffect.runs.statistics import Estimate, Unit, fixed_mean

METRICS = ("image_auroc", "pixel_aupro_30")
LEFT_OUT = "not drawn, for want of figures by level (there are none where a single level is scored)"

Curve = list[tuple[float, Estimate]]  # by log-SNR, ascending


def curve(group: Group, metric: str) -> Curve:
    """The group's mean at each level that all of its cells with levels have."""
    cells: dict[Unit, dict[float, float]] = {}
    for run in group.runs:
        for category, result in run.record.results.items():
            if result.levels:
                figures = ((level.log_snr, level.metrics.get(metric)) for level in result.levels)
                cells[category, run.unit[1]] = {log_snr: value for log_snr, value in figures if value is not None}
    known = [values for values in cells.values() if values]
    if not known:
        return []
    shared = sorted(set.intersection(*(set(values) for values in known)))
    means = ((level, fixed_mean({unit: v.get(level) for unit, v in cells.items()})) for level in shared)
    return [(level, estimate) for level, estimate in means if estimate.value is not None]


def left_out(study: Study) -> list[str]:
    """The groups without a curve where others have one."""
    without = [group for group in study.groups if not any(curve(group, metric) for metric in METRICS)]
    return [] if len(without) == len(study.groups) else [study.label(group) for group in without]


def partial(study: Study, group: Group) -> str:
    """How many of the categories the group's curves are over, where these are not all: they do not compare then."""
    covered = {category for metric in METRICS for _, one in curve(group, metric) for category in one.categories}
    whole = len(study.by_category)
    return f"{len(covered)} of {whole} categories" if 0 < len(covered) < whole else ""
