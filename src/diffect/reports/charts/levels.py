"""What each scoring level alone would give: metric against log-SNR, a line for each group."""

import altair as alt

from diffect.reports.cells import METRIC
from diffect.reports.charts.base import Chart, Panel, Rows, colour, dashes, interval, least_span, points
from diffect.reports.study import Study
from diffect.reports.wording import joined
from diffect.runs.grid import Group
from diffect.runs.statistics import Estimate, Unit, fixed_mean

METRICS = ("image_auroc", "pixel_aupro_30")
LEFT_OUT = "Not drawn, for want of figures by level (there are none where a single level is scored)"


def levels(study: Study) -> Chart | str:
    """The mean of each group at each level, with its interval over seeds."""
    rows: Rows = []
    for place, group in enumerate(study.groups):
        for metric in METRICS:
            for level, one in curve(group, metric):
                row = {"group": place, "metric": metric, "level": level, **interval(metric, one)}
                row |= {"text": f"{row['text']} at log-SNR {level:g}"}
                rows.append(row | {"missing": len(study.by_category) - len(one.categories)})
    if not rows:
        return "no figure of the scoring levels: no record says what each alone would give"
    over_seeds = any(row["low"] < row["high"] for row in rows)
    spread = ", with 95% intervals over seeds where there are several" if over_seeds else ""
    return Chart(
        name="levels",
        title="Scoring levels",
        caption=f"What each scoring level alone would give: mean over categories and seeds{spread}.",
        source="levels",
        rows=rows,
        paper=tuple(Panel(_view(study), METRIC[metric].title, (("metric", metric),)) for metric in METRICS),
        page=(Panel(_view(study)),),
        lacking=_lacking(study, rows),
    )


def curve(group: Group, metric: str) -> list[tuple[float, Estimate]]:
    """The mean of a group at each level (log-SNR, ascending) that all of its cells with levels have."""
    cells: dict[Unit, dict[float, float]] = {}
    for run in group.runs:
        for category, result in run.record.results.items():
            figures = ((level.log_snr, level.metrics.get(metric)) for level in result.levels)
            if known := {log_snr: value for log_snr, value in figures if value is not None}:
                cells[category, run.unit[1]] = known
    shared = sorted(set.intersection(*map(set, cells.values()))) if cells else []
    return [(level, fixed_mean({unit: values[level] for unit, values in cells.items()})) for level in shared]


def _lacking(study: Study, rows: Rows) -> str:
    """The groups over fewer categories than others, and those that are not drawn."""
    whole = len(study.by_category)
    covered = {row["group"]: whole - row["missing"] for row in rows}
    labels = [study.label(group) for group in study.groups]
    partial = [f"{labels[place]} ({count} of {whole} categories)" for place, count in covered.items() if count < whole]
    without = [label for place, label in enumerate(labels) if place not in covered]
    texts = [f"Hollow, since not comparable: {joined(partial)}."] if partial else []
    return " ".join([*texts, f"{LEFT_OUT}: {joined(without)}."] if without else texts)


def _view(study: Study) -> alt.LayerChart:
    hue, scale = colour(study), alt.Scale(zero=False, padding=8)
    base = alt.Chart().encode(x=alt.X("level:Q", title="log-SNR of the scoring level", scale=scale), color=hue)
    line = base.mark_line(aria=False, strokeWidth=1.2)
    return alt.layer(
        least_span("y"),
        line.encode(y="value:Q", detail="group:N", strokeDash=dashes(study)),
        base.mark_rule(aria=False).encode(y=alt.Y("low:Q", title=None, scale=alt.Scale(zero=False)), y2="high:Q"),
        *points(base, size=25, y="value:Q"),
    )
