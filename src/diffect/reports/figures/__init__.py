"""The figures of a study, each as PDF and PNG: what its records allow, and why not the rest."""

from collections.abc import Callable
from pathlib import Path

from diffect.reports.figures.comparison import comparison_figure
from diffect.reports.figures.curves import curves_figure
from diffect.reports.figures.levels import levels_figure
from diffect.reports.figures.pareto import pareto_figure
from diffect.reports.figures.ranks import ranks_figure
from diffect.reports.figures.schedules import schedule_figure, schedules_of, study_schedules_figure
from diffect.reports.study import Study

__all__ = ["FIGURES", "comparison_figure", "schedule_figure", "schedules_of", "write"]

# Each draws its figure and returns None, or the reason why not: an empty one where none is to be expected.
FIGURES: dict[str, Callable[[Study, Path], str | None]] = {
    "schedules": study_schedules_figure,
    "comparison": comparison_figure,
    "curves": curves_figure,
    "levels": levels_figure,
    "pareto": pareto_figure,
    "ranks": ranks_figure,
}


def write_figures(study: Study, out: Path) -> list[str]:
    """Draw each of FIGURES into `out`; older ones that can no longer be made are removed, and the reasons returned."""
    reasons = []
    for name, draw in FIGURES.items():
        reason = draw(study, out / name)
        if reason is not None:
            reasons += [reason] if reason else []
            for suffix in (".pdf", ".png"):
                (out / f"{name}{suffix}").unlink(missing_ok=True)
    return reasons
