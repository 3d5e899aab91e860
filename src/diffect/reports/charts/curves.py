"""Quality along an axis of numbers: a line for each combination of the other axes, and each category by itself."""

import altair as alt

from diffect.reports.cells import METRIC
from diffect.reports.charts.axes import NumericAxis, leading, numeric_axes, numeric_axis
from diffect.reports.charts.base import MISSING, Chart, Panel, Rows, colour, colour_of, dashes, least_span, points
from diffect.reports.study import Study
from diffect.reports.wording import listed
from diffect.runs.grid import short

METRICS = ("image_auroc", "pixel_aupro_30")
_MOST_CATEGORIES = 5  # with more, lines of single categories are hard to tell from each other


def curves(study: Study, means: Rows) -> Chart | str:
    """The means of the tables along the study's axis of numbers; an empty reason where no axis holds numbers."""
    along = numeric_axis(study)
    if along is None:
        names = [study.axes[axis] for axis in numeric_axes(study)]
        several = f"no figure along a number: {listed(names)} each hold three or more, and a curve follows only one"
        return several if names else ""
    name, short_name = study.axes[along.axis], short(study.axes)[along.axis]
    metrics = [metric for metric in METRICS if any(row["metric"] == metric for row in means)]
    titles = [METRIC[metric].title for metric in metrics or METRICS]
    if not metrics:
        return f"no figure along {name}: no run has {' or '.join(titles)}"
    view, single = _means(study, along), _categories(study, along)
    paper = [Panel(view, METRIC[metric].title, (("metric", metric), ("category", None))) for metric in metrics]
    named = listed([title[:1].upper() + title[1:] for title in titles])
    caption = [f"{named} along {name}: mean and 95% interval of each group. {MISSING}"]
    if along.all_at is not None:
        caption.append("The last place, apart from the scale, is that of all there are.")
    if 1 < len(study.by_category) <= _MOST_CATEGORIES:
        paper += [Panel(single, f"{METRIC[metric].title}, each category", (("metric", metric),)) for metric in metrics]
    return Chart(
        name="curves",
        title=f"Along {short_name}",
        caption=" ".join(caption),
        source="means",
        rows=means,
        paper=tuple(paper),
        page=(Panel(view),),
        columns=len(metrics),
    )


def _means(study: Study, along: NumericAxis) -> alt.LayerChart:
    hue = colour(study) if leading(study) != along.axis else alt.value(alt.ExprRef("ink"))
    base = alt.Chart().encode(x=_x(study, along), color=hue)
    return alt.layer(
        least_span("y"),
        *_lines(base.encode(y=alt.Y("value:Q", title=None), detail="line:N", strokeDash=dashes(study, "other"))),
        base.mark_rule(aria=False).encode(y=alt.Y("low:Q", title=None, scale=alt.Scale(zero=False)), y2="high:Q"),
        *points(base, y="value:Q"),
    )


def _categories(study: Study, along: NumericAxis) -> alt.LayerChart:
    """A line for each category, in its own colour where there is a single line for each."""
    alone = leading(study) == along.axis
    names = list(study.by_category)
    hue = colour_of("category", names) if alone else colour(study)
    base = alt.Chart().transform_filter("isValid(datum.category)").encode(x=_x(study, along), color=hue)
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
    lines = base.encode(y=y, detail=["line:N", "category:N"])
    shape = alt.Undefined if alone else alt.Shape("category:N")
    return alt.layer(least_span("y"), *_lines(lines), lines.mark_point(size=12).encode(shape=shape))


def _lines(base: alt.Chart) -> list[alt.Chart]:
    """The line through the numbers, which a hole parts, and a dotted one on to the place of null."""
    solid = base.transform_filter("!datum.all").mark_line(aria=False, strokeWidth=1.2)
    dotted = base.transform_filter("datum.tail").mark_line(aria=False, strokeWidth=0.8)
    parts = ["line:N", "part:N", "category:N"]
    return [solid.encode(detail=parts), dotted.encode(strokeDash=alt.value([1, 3]))]


def _x(study: Study, along: NumericAxis) -> alt.X:
    """The scale of the numbers; null stands beyond its end, and is called all."""
    places, text = [*along.numbers], "format(datum.value, '~g')"
    if along.all_at is not None:
        places.append(along.all_at)
        text = f"datum.value > {along.numbers[-1]!r} ? 'all' : {text}"
    axis = alt.Axis(values=places, labelExpr=text, labelOverlap="greedy", grid=False)
    scale = alt.Scale(type="log" if along.log else "linear", zero=False, nice=False, padding=8)
    title = short(study.axes)[along.axis] + (" (log scale)" if along.log else "")
    return alt.X("x:Q", title=title, axis=axis, scale=scale)
