"""The groups of a study side by side: means with intervals, and the seeds behind them."""

import altair as alt

from diffect.reports.cells import METRIC
from diffect.reports.charts.base import MISSING, Chart, Panel, Rows, colour, group_rows, points
from diffect.reports.comparison import COMPARED
from diffect.reports.study import Study


def comparison(study: Study, means: Rows) -> Chart | str:
    """A row for each group, the best first; in the paper a panel for each metric that is compared."""
    shown = [row for row in means if row["category"] is None and row["metric"] in COMPARED]
    if not shown:
        return "no figure that compares the groups: no run has any of its metrics"
    dots = "Small dots are the means of single seeds, the" if any("seeds" in row for row in shown) else "The"
    metrics = [metric for metric in COMPARED if any(row["metric"] == metric for row in shown)]
    paper = [
        Panel(_view(study, names=metric == metrics[0]), METRIC[metric].title, (("metric", metric), ("category", None)))
        for metric in metrics
    ]
    return Chart(
        name="comparison",
        title="Groups",
        caption=f"Mean and 95% interval of each group. {dots} dashed line is a figure that the field quotes. {MISSING}",
        source="means",
        rows=means,
        paper=tuple(paper),
        page=(Panel(_view(study)),),
        labelled=True,
        most=40,
    )


def _view(study: Study, names: bool = True) -> alt.LayerChart:
    labels = [row["label"] for row in group_rows(study)]
    axis = alt.Axis(labelLimit=150, ticks=False, domain=False) if names else None
    rows = alt.Chart().encode(y=alt.Y("label:N", sort=labels, title=None, axis=axis), color=colour(study, legend=None))
    low = alt.X("low:Q", title=None, scale=alt.Scale(zero=False))
    quoted = alt.Chart().mark_rule(aria=False, strokeDash=[4, 3], color=alt.ExprRef("muted"))
    seeds = rows.transform_filter("isValid(datum.seeds)").transform_flatten(["seeds"])
    return alt.layer(
        quoted.encode(x="max(reference):Q"),
        rows.mark_rule(aria=False, strokeWidth=1.6).encode(x=low, x2="high:Q"),
        seeds.mark_circle(aria=False, size=10, yOffset=5, opacity=0.7).encode(x="seeds:Q"),
        *points(rows, x="value:Q"),
    )
