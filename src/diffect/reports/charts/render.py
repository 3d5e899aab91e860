"""Charts as figures of a paper (PDF and PNG), and as Vega for the page: one style, the same bytes every time."""

import re
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from diffect.reports.charts.base import Chart, Panel, Rows, colour_of, group_rows
from diffect.reports.charts.training import schedule_chart, schedule_curves
from diffect.reports.study import Study
from diffect.runs.record import Curves
from diffect.storage.atomic import write_atomic
from diffect.storage.caches import cache_root

NAMES = ("schedules", "comparison", "curves", "levels", "pareto", "ranks")  # of the figures of a paper
WIDTH = 500  # points: about that of a page's text, so that letters are as large as those around them
_DPI = 200
# Okabe and Ito (2008), "Color Universal Design", then Tol's muted colours: distinct with common colour blindness.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"),
    *("#332288", "#999933", "#882255", "#44AA99", "#000000", "#999999"),
)
_PAPER = {"ink": "#1b1d20", "muted": "#555555", "rule": "#dddddd", "paper": "white"}
_PAGE = {name: f"var(--{name})" for name in _PAPER}  # as style.css has them, light and dark


def write_figures(study: Study, charts: Sequence[Chart], out: Path) -> list[Chart]:
    """Write each chart that a paper shows as `out`/NAME.pdf and .png, remove older ones, and return the charts.

    The files hold no dates and no versions: the same study gives the same bytes.
    """
    drawn = [chart for chart in charts if chart.paper]
    for name in set(NAMES) - {chart.name for chart in drawn}:
        for suffix in (".pdf", ".png"):
            (out / f"{name}{suffix}").unlink(missing_ok=True)
    groups = group_rows(study)
    for chart in drawn:
        _write(chart, groups, out / chart.name)
    return drawn


def schedule_figure(schedules: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw schedules without a study into `path` with .pdf and .png, as the figure of a study that trains by them.

    Each is {"name", "t", "log_snr", "density", "weight"}, as `diffusion.weights.schedule_curves` gives it: lists of one
    length, in which null is a gap. Raises ValueError for lists of different lengths.
    """
    rows: Rows = [{"name": one["name"], **schedule_curves(Curves(**one))} for one in schedules]
    _write(schedule_chart(rows, colour_of("name", [row["name"] for row in rows])), [], path)


def _write(chart: Chart, groups: Rows, path: Path) -> None:
    svg = figure_svg(chart, groups)
    # The converter lists the resources of a page in a random order; sorted, they take the same bytes.
    lists = re.compile(rb"(?<=<<\n)(?: +/\w+ \d+ 0 R\n)+")
    pdf = lists.sub(lambda found: b"".join(sorted(found[0].splitlines(True))), vl_convert.svg_to_pdf(svg))
    write_atomic(path.with_name(f"{path.name}.pdf"), pdf)
    write_atomic(path.with_name(f"{path.name}.png"), vl_convert.svg_to_png(svg, scale=_DPI / 72, ppi=72))


def figure_svg(chart: Chart, groups: Rows) -> str:
    """The figure of a chart as SVG."""
    svg: str = vl_convert.vegalite_to_svg(_figure_spec(chart, groups))
    return svg


def _figure_spec(chart: Chart, groups: Rows) -> dict[str, Any]:
    """The panels of a chart side by side, as Vega-Lite with its data."""
    columns = min(chart.columns, len(chart.paper))
    # Labels of rows take room once, numbers on an axis in each panel.
    width = (WIDTH - 110) / columns - 12 if chart.labelled else WIDTH / columns - 42
    height: Any = alt.Step(12) if chart.labelled else 125
    views, datasets = [], {}
    for place, panel in enumerate(chart.paper):
        rows = [row for row in chart.rows if all(row.get(key) == value for key, value in panel.only)]
        datasets[f"rows{place}"] = [groups[row["group"]] | row if "group" in row else row for row in rows]
        data = alt.NamedData(f"rows{place}")
        views.append(panel.view.properties(data=data, width=width, height=height, title=panel.title))
    shown = alt.concat(*views, columns=columns, spacing=12)
    shown = shown.resolve_scale(color="shared", shape="shared", strokeDash="shared")
    params = [{"name": name, "value": value} for name, value in {**_PAPER, "room": WIDTH}.items()]
    config = _config(_PAPER, COLOURS, 8, "Liberation Sans")  # a font that comes with vl-convert
    return shown.to_dict() | {"datasets": datasets, "params": params, "config": config}


def page_spec(chart: Chart, panel: Panel) -> dict[str, Any]:
    """A panel as Vega, as wide as its place, whose data, named as the chart's source, are still to come."""
    height: Any = alt.Step(26) if chart.labelled else 260
    title = alt.Title(panel.title or alt.ExprRef("title"))
    data = alt.NamedData(chart.source)
    spec = panel.view.properties(data=data, width="container", height=height, title=title).to_dict()
    params: Rows = [{"name": name, "value": value} for name, value in {**_PAGE, "title": ""}.items()]
    params.append({"name": "room", "expr": "width"})
    colours = [f"var(--c{place})" for place in range(len(COLOURS))]
    spec |= {"params": params, "config": _config(_PAGE, colours, 12, "system-ui, sans-serif")}
    spec |= {"autosize": {"type": "fit-x", "contains": "padding"}, "datasets": {chart.source: []}}
    vega: dict[str, Any] = vl_convert.vegalite_to_vega(spec)
    return vega


def vega_script() -> str:
    """Vega itself, as one script that sets `vegaEmbed`; bundling it takes seconds, so it is kept among the caches."""
    path = cache_root() / "vega" / f"{version('vl-convert-python')}.js"
    if not path.is_file():
        write_atomic(path, vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;"))
    return path.read_text(encoding="utf-8")


def _config(theme: dict[str, str], colours: Sequence[str], size: int, font: str) -> dict[str, Any]:
    muted, rule = theme["muted"], theme["rule"]
    text = {"labelFontSize": size, "titleFontSize": size, "labelColor": muted, "titleColor": muted}
    text |= {"titleFontWeight": "normal"}
    lines = {"gridColor": rule, "gridWidth": 0.5, "domainColor": muted, "tickColor": muted, "domainWidth": 0.6}
    below = {"orient": "bottom", "titleOrient": "left", "labelLimit": 220, "symbolSize": 40, "offset": 4}
    layout = {"bottom": {"anchor": "start", "direction": "vertical", "margin": 2}}
    return {
        "background": theme["paper"],
        "font": font,
        "view": {"stroke": None},
        "axis": {**text, **lines, "tickWidth": 0.6, "labelOverlap": "greedy"},
        "legend": {**text, **below, "columnPadding": 8, "rowPadding": 1, "layout": layout},
        "title": {"fontSize": size + 1, "color": theme["ink"], "fontWeight": "normal", "anchor": "start", "offset": 6},
        "range": {"category": list(colours)},
        "rule": {"strokeWidth": 1},
        "text": {"fontSize": size},
    }
