"""What the figures and the page draw of a study, and which groups they leave out; without matplotlib."""

from diffect.reports.charts import levels, tradeoff
from diffect.reports.study import Study
from diffect.reports.wording import joined


def groups_left_out(study: Study) -> dict[str, str]:
    """By the name of the figure a sentence without its full stop; nothing for a figure that lacks no group."""
    found = {
        "levels": (levels.LEFT_OUT, levels.left_out(study)),
        "pareto": (tradeoff.LEFT_OUT, tradeoff.left_out(study)),
    }
    return {name: f"{reason}: {joined(groups)}" for name, (reason, groups) in found.items() if groups}
