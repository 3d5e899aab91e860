"""A study as the data that the page's scripts read; groups and runs are referred to by their places in the lists."""

from typing import Any

from diffect.reports.cells import figure_text
from diffect.reports.charts.base import Chart, group_rows
from diffect.reports.charts.render import page_spec
from diffect.reports.study import Study
from diffect.runs import grid
from diffect.runs.grid import short
from diffect.runs.record import METRICS, Metric
from diffect.runs.table import Run


def page_data(study: Study, charts: list[Chart]) -> dict[str, Any]:
    """All but the pictures: groups, runs, and the charts with the rows that they draw."""
    places = {id(run): place for place, run in enumerate(study.runs)}
    groups = [
        {**row, "values": list(group.values), "runs": [places[id(run)] for run in group.runs]}
        for row, group in zip(group_rows(study), study.groups, strict=True)
    ]
    group_of = {run: place for place, group in enumerate(groups) for run in group["runs"]}
    metrics = [{"name": one.name, "title": one.title, "higher": one.higher_is_better} for one in METRICS]
    return {
        "axes": short(study.axes),
        "categories": list(grid.categories(study.runs)),
        "all_metrics": metrics,
        "metrics": [metric for metric in metrics if metric["name"] in study.estimates],
        "groups": groups,
        "runs": [_run(run, group_of[place]) for place, run in enumerate(study.runs)],
        "charts": [
            {
                **{key: getattr(chart, key) for key in ("title", "caption", "source", "most", "lacking")},
                "panels": [page_spec(chart, panel) for panel in chart.page],
            }
            for chart in charts
        ],
        "data": {chart.source: chart.rows for chart in charts},
    }


def _run(run: Run, group: int) -> dict[str, Any]:
    """What is known of one run; `values` has, for each of its categories and by metric, the figure and its interval."""
    record, made = run.record, run.record.provenance
    values = [
        {metric.name: texts for metric in METRICS if (texts := _texts(run, category, metric))}
        for category in record.categories
    ]
    known: dict[str, object] = {
        "device": made.device,
        "created": made.created,
        "commit": made.commit,
        "test reads": record.test_reads,
    }
    known["seconds"] = round(record.seconds.get("total", 0))
    return {
        "signature": record.signature,
        "folder": run.folder.name,
        "group": group,
        "seed": record.seed,
        "categories": list(record.categories),
        "values": values,
        "choices": "  ".join(f"{key}={value}" for key, value in sorted(run.choices.items()) if record.counts(key)),
        "about": {name: str(value) for name, value in known.items() if value},
    }


def _texts(run: Run, category: str, metric: Metric) -> list[str]:
    """The figure, and the ends of its 95% interval over test images, as the tables write them."""
    result = run.record.results[category]
    if (value := result.metrics.get(metric.name)) is None:
        return []
    return [figure_text(metric, one) for one in (value, *result.intervals.get(metric.name, ()))]
