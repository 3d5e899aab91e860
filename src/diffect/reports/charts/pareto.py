"""Quality against latency: the groups that can be compared in both, and those that nothing else beats."""

import altair as alt

from diffect.reports.cells import METRIC
from diffect.reports.charts.base import Chart, Panel, Rows, colour, interval, least_span, points, shapes
from diffect.reports.study import Study
from diffect.reports.wording import first_few, joined

QUALITY = ("image_auroc", "pixel_aupro_30")
LATENCY = "latency_ms"
_NONE = "no figure of quality against latency"
_LOG = 3.0  # between the latencies of a logarithmic scale


def pareto(study: Study, means: Rows) -> Chart | str:
    """Each metric over the latency of one image, with both intervals; the line is the Pareto front of the means."""
    devices = {run.record.provenance.device for run in study.runs}
    if len(devices) > 1:
        return f"{_NONE}: latency was measured on {len(devices)} different devices"
    rows = _rows(study, means)
    shown = [row for row in rows if row["category"] is None and row["metric"] in QUALITY]
    if len({row["group"] for row in shown}) < 2:
        return f"{_NONE}: fewer than two groups have both over all categories"
    times = [row["time_value"] for row in rows]
    view = _view(study, log=min(times) > 0 and max(times) > _LOG * min(times))
    metrics = [metric for metric in QUALITY if any(row["metric"] == metric for row in shown)]
    lacking = left_out(study)
    return Chart(
        name="pareto",
        title="Quality against latency",
        caption="Quality against latency, with 95% intervals. The line is the Pareto front of the means: no other group"
        " is as fast and better.",
        source="pareto",
        rows=rows,
        paper=tuple(Panel(view, METRIC[metric].title, (("metric", metric), ("category", None))) for metric in metrics),
        page=(Panel(view),),
        lacking=f"Not drawn, since not comparable: {joined(lacking)}." if lacking else "",
    )


def _rows(study: Study, means: Rows) -> Rows:
    """The means that lack no category, of groups whose latency lacks none, with that latency."""
    times = {place: interval(LATENCY, one) for place, one in enumerate(study.estimates[LATENCY]) if one.comparable}
    rows = []
    for row in means:
        if (time := times.get(row["group"])) and not row.get("missing") and row["metric"] != LATENCY:
            timed = {f"time_{key}": time[key] for key in ("value", "low", "high")}
            rows.append(row | timed | {"text": f"{row['text']}, {time['text']} ms"})
    return rows


def left_out(study: Study) -> list[str]:
    """The groups that lack a category, or all, in the latency or in a metric that others have, with what they lack."""
    metrics = [LATENCY, *(metric for metric in QUALITY if any(one.comparable for one in study.estimates[metric]))]
    found = []
    for place, group in enumerate(study.groups):
        reasons: dict[tuple[str, ...], list[str]] = {}
        for metric in metrics:
            if not (one := study.estimates[metric][place]).comparable:
                missing = () if one.value is None else one.missing
                reasons.setdefault(missing, []).append(METRIC[metric].title)
        texts = []
        for missing, titles in reasons.items():
            named = "" if len(titles) == len(metrics) else f"{' and '.join(titles)} "
            texts.append(f"{named}without {first_few(missing)}" if missing else f"no {' and '.join(titles)}")
        found += [f"{study.label(group)} ({' and '.join(texts)})"] if texts else []
    return found


def _view(study: Study, log: bool) -> alt.LayerChart:
    scale = alt.Scale(type="log" if log else "linear", zero=False, padding=10)
    x = alt.X("time_value:Q", title="latency of one image, ms", scale=scale, axis=alt.Axis(format="~g", tickCount=5))
    y = alt.Y("value:Q", title=None, scale=alt.Scale(zero=False))
    hue = colour(study)
    base = alt.Chart().encode(x=x, y=y, color=hue)
    faster = [alt.SortField("time_value"), alt.SortField("value", "descending")]
    front = alt.Chart().transform_window(best="max(value)", frame=[None, 0], sort=faster)
    front = front.transform_window(before="lag(best)", sort=faster)
    front = front.transform_filter("!isValid(datum.before) || datum.value > datum.before")
    dotted = front.mark_line(aria=False, interpolate="step-after", strokeDash=[2, 3], color=alt.ExprRef("muted"))
    return alt.layer(
        least_span("y"),
        dotted.encode(x=x, y=y),
        base.mark_rule(aria=False).encode(y="low:Q", y2="high:Q"),
        base.mark_rule(aria=False).encode(x="time_low:Q", x2="time_high:Q"),
        *points(base, shape=shapes(study)),
    )
