"""The groups that a figure lacks though it is drawn, and why."""

from diffect.reports.drawn import levels, tradeoff
from diffect.reports.notes import joined
from diffect.reports.study import Study


def left_out(study: Study) -> dict[str, str]:
    """By the name of the figure a sentence without its full stop; nothing for a figure that lacks no group."""
    found = {
        "levels": (levels.LEFT_OUT, levels.left_out(study)),
        "pareto": (tradeoff.LEFT_OUT, tradeoff.left_out(study)),
    }
    return {name: f"{reason}: {joined(groups)}" for name, (reason, groups) in found.items() if groups}
