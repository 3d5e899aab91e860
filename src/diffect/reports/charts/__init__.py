"""The charts of a study: one specification of each, in Vega-Lite, for the page and for the paper."""

from diffect.reports.charts.base import Chart, mean_rows
from diffect.reports.charts.comparison import comparison
from diffect.reports.charts.curves import curves
from diffect.reports.charts.levels import levels
from diffect.reports.charts.pareto import pareto
from diffect.reports.charts.ranks import ranks
from diffect.reports.charts.training import losses, schedules
from diffect.reports.study import Study


def study_charts(study: Study) -> tuple[list[Chart], list[str]]:
    """All charts that the study's records allow, in the order of the page, and why not the rest."""
    means = mean_rows(study)
    found = [
        comparison(study, means),
        curves(study, means),
        pareto(study, means),
        ranks(study),
        levels(study),
        losses(study),
        schedules(study),
    ]
    return [one for one in found if isinstance(one, Chart)], [one for one in found if isinstance(one, str) and one]
