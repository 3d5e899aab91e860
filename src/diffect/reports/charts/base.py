"""What all charts share: the rows of data that they draw, colours and marks, and the parts of a Vega-Lite view."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from diffect.reports.cells import METRIC, ends, estimate_cell
from diffect.reports.charts.axes import leading, numeric_axis
from diffect.reports.study import REFERENCE, Study
from diffect.runs import grid
from diffect.runs.grid import short
from diffect.runs.record import METRICS
from diffect.runs.statistics import Estimate

Rows = list[dict[str, Any]]

MISSING = "A hollow marker is a mean that lacks a category."
_LETTER = 4.6  # pixels of a letter in a legend, about
_SPAN = 0.05  # least height of an axis of shares, so that what is next to nothing looks like it


@dataclass(frozen=True)
class Panel:
    """One view: its specification without data and size, its title, and which of the chart's rows the paper shows.

    A panel without a title shows the metric and the category that are chosen on the page.
    """

    view: alt.LayerChart
    title: str | None = None
    only: tuple[tuple[str, Any], ...] = ()


@dataclass(frozen=True)
class Chart:
    """A chart of a study, for the page and for the paper.

    `rows` are its data, named `source`: charts of one source share them. Each has a `group`, the place of its group in
    the study, or `groups`. `paper` are the panels that stand side by side in the figure, `page` those of the page. With
    `labelled`, each group has a row of its own height, with its label to the left; the page shows the first `most`.
    `lacking` says what is not drawn, and why.
    """

    name: str
    title: str
    caption: str
    source: str
    rows: Rows
    paper: tuple[Panel, ...]
    page: tuple[Panel, ...]
    labelled: bool = False
    most: int | None = None
    columns: int = 3
    lacking: str = ""


def group_rows(study: Study) -> Rows:
    """What the rows of each group know of it: its label, its values on the leading axis and on others, its place.

    All on one line: a chart's expressions may hold these texts, and no line break.
    """
    lead, numbers = leading(study), numeric_axis(study)
    rows = []
    for group in study.groups:
        row = {"label": flat(study.label(group)), "hue": flat(group.values[lead]) if group.values else ""}
        for field in ("rest", "other"):
            row[field] = flat(", ".join(group.values[axis] for axis in _other_axes(study, field)))
        rows.append(row | (numbers.place(study, group) if numbers else {}))
    return rows


def flat(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())


def mean_rows(study: Study) -> Rows:
    """The mean of each group in each metric, over all categories (null) and in each, and those of its single seeds."""
    rows = []
    for category, estimates in ((None, study.estimates), *study.by_category.items()):
        for name in (metric.name for metric in METRICS if metric.name in estimates):
            for place, (group, estimate) in enumerate(zip(study.groups, estimates[name], strict=True)):
                if estimate.value is not None:
                    row = {"group": place, "metric": name, "category": category, **interval(name, estimate)}
                    row |= {"seeds": seed_means(group, name, estimate, category), "reference": REFERENCE.get(name)}
                    rows.append({key: value for key, value in row.items() if value is not None or key == "category"})
    return rows


def interval(metric: str, estimate: Estimate) -> dict[str, Any]:
    """A mean, the ends of its 95% interval, how the tables write it, and how many categories it lacks."""
    value = estimate.value or 0.0
    low, high = ends(METRIC[metric], estimate) or (value, value)
    found = {"value": rounded(value), "low": rounded(low), "high": rounded(high)}
    return found | {
        "text": estimate_cell(METRIC[metric], estimate).text("{}"),
        "missing": len(estimate.missing) or None,
    }


def seed_means(group: grid.Group, metric: str, estimate: Estimate, category: str | None = None) -> list[float] | None:
    """For each seed of the estimate the mean over categories, or the figure in one; None where there is one seed."""
    values, _ = grid.cells(group.runs, metric)
    cells = {unit: v for unit, v in values.items() if v is not None and category in (None, unit[0])}
    columns = ([v for (_, other), v in cells.items() if other == seed] for seed in estimate.seeds)
    means = [rounded(sum(column) / len(column)) for column in columns if column]
    return means if len(means) > 1 else None


def rounded(value: float) -> float:
    """Six significant digits: no screen or page shows more."""
    return float(f"{value:.6g}")


def hues(study: Study) -> list[str]:
    """The values of the leading axis, in natural order: each has its colour in every chart."""
    lead = leading(study)
    return (
        sorted({group.values[lead] for group in study.groups}, key=lambda value: grid.natural([value]))
        if study.axes
        else [""]
    )


def colour(study: Study, **options: Any) -> alt.Color:
    """A colour for each value of the leading axis, the same in all charts."""
    title = short(study.axes)[leading(study)] if study.axes else None
    return colour_of("hue", hues(study), title=title, **options)


def colour_of(field: str, names: Sequence[str], **options: Any) -> alt.Color:
    """A colour for each of `names` in `field`; no legend where there is one."""
    look = {"title": None, "legend": legend(names) if len(names) > 1 else None, **options}
    return alt.Color(f"{field}:N", scale=alt.Scale(domain=list(names)), **look)


def shapes(study: Study) -> alt.Shape:
    """A shape for each combination of the axes that have no colour."""
    return alt.Shape("rest:N", **_others(study, "rest"))


def dashes(study: Study, field: str = "rest") -> alt.StrokeDash:
    """Dashes for each combination of the axes that have no colour: in "other" also less the axis of numbers."""
    return alt.StrokeDash(f"{field}:N", **_others(study, field))


def _others(study: Study, field: str) -> dict[str, Any]:
    """The title, scale and legend of a mark for `field` of the groups; no legend where all have the same."""
    names = sorted({row[field] for row in group_rows(study)})
    title = ", ".join(short(study.axes)[axis] for axis in _other_axes(study, field))
    shown = legend(names, grey=True) if len(names) > 1 else None
    return {"title": title, "scale": alt.Scale(domain=names), "legend": shown}


def _other_axes(study: Study, field: str) -> list[int]:
    """The axes whose values stand in "rest" or "other" of a group's row."""
    numbers = numeric_axis(study) if field == "other" else None
    placed = (leading(study), numbers.axis if numbers else None)
    return [axis for axis in range(len(study.axes)) if axis not in placed]


def legend(names: Sequence[str], grey: bool = False) -> alt.Legend:
    """As many columns as there is room for."""
    room = _LETTER * max(map(len, names), default=1) + 34
    look = {"symbolFillColor": alt.ExprRef("muted")} if grey else {}
    return alt.Legend(columns=alt.ExprRef(f"max(1, floor(room / {room:.0f}))"), symbolLimit=48, **look)


def points(base: alt.Chart, size: int = 40, **encoding: Any) -> list[alt.Chart]:
    """A mark for each mean, which opens its runs on the page; hollow where a category is missing."""
    hole = base.transform_filter("datum.missing").mark_point(aria=False, filled=True, size=size / 2, opacity=1)
    inside = hole.encode(**{**encoding, "color": alt.value(alt.ExprRef("paper"))})
    return [base.mark_point(filled=True, size=size, opacity=1).encode(**encoding), inside]


def least_span(channel: str) -> alt.Chart:
    """Invisible marks that keep an axis of shares at least _SPAN long, and its end no higher above 1 than need be."""
    top = f"min((datum.bottom + datum.top + {_SPAN}) / 2, max(datum.top, 1))"
    ends = (
        alt.Chart()
        .transform_aggregate(bottom="min(low)", top="max(high)")
        .transform_filter(f"datum.top - datum.bottom < {_SPAN}")
    )
    ends = ends.transform_calculate(end=f"[{top}, {top} - {_SPAN}]").transform_flatten(["end"])
    return ends.mark_point(opacity=0, aria=False).encode(**{channel: "end:Q"})
