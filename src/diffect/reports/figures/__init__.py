"""The figures of a study, each as PDF and PNG: what its records allow, and why not the rest."""

from collections.abc import Callable
from pathlib import Path

from diffect.reports.figures.comparison import comparison_figure
from diffect.reports.figures.levels import levels_figure
from diffect.reports.figures.pareto import pareto_figure
from diffect.reports.figures.ranks import ranks_figure
from diffect.reports.figures.schedules import schedule_figure, schedules_of, study_schedules_figure
from diffect.reports.study import Study

__all__ = ["FIGURES", "comparison_figure", "schedule_figure", "schedules_of", "write"]

FIGURES: dict[str, Callable[[Study, Path], str | None]] = {
    "schedules": study_schedules_figure,
    "comparison": comparison_figure,
    "levels": levels_figure,
    "pareto": pareto_figure,
    "ranks": ranks_figure,
}


def write(study: Study, out: Path) -> list[str]:
    """Draw each of FIGURES into `out`; older ones that can no longer be made are removed, and the reasons returned."""
    reasons = []
    for name, draw in FIGURES.items():
        reason = draw(study, out / name)
        if reason is not None:
            reasons.append(reason)
            for suffix in (".pdf", ".png"):
                (out / f"{name}{suffix}").unlink(missing_ok=True)
    return reasons
