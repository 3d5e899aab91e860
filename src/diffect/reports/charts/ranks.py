"""The critical-difference diagram: average ranks, and which groups do not differ by them (Demšar 2006, JMLR 7)."""

import altair as alt

from diffect.reports.cells import METRIC
from diffect.reports.charts.base import Chart, Panel, colour, flat, points, rounded
from diffect.reports.study import RANKED, Study
from diffect.runs.ranks import Ranking
from diffect.runs.statistics import BLOCKS

_NONE = "no critical-difference diagram"
_MOST = 60  # groups that a page has room for


def ranks(study: Study) -> Chart | str:
    """A row for each group, the best at the top, and bars that join groups that are not shown to differ."""
    found = study.ranking
    if found.reason is not None or found.critical_difference is None:
        return f"{_NONE}: {found.reason}"
    count = len(found.groups)
    if count > _MOST:
        return f"{_NONE}: {count} groups are more than the {_MOST} that a page has room for"
    places = {study.label(group): place for place, group in enumerate(study.groups)}
    rows = [
        {"group": places[name], "rank": rounded(rank), "text": f"average rank {rank:.2f}"}
        for name, rank in zip(found.groups, found.ranks, strict=True)
    ]
    step = (count - 1) / 40  # from bar to bar, in ranks
    bars = [
        {"group": places[found.groups[member]], "clique": number, "bar": count + (number + 1) * step}
        for number, clique in enumerate(found.cliques)
        for member in clique
    ]
    what = f"verage rank by {METRIC[RANKED].title} over {found.blocks} {BLOCKS[study.estimand]}"
    panel = (Panel(_view(study, found, found.critical_difference), f"a{what}"),)
    return Chart(
        name="ranks",
        title="Critical differences",
        caption=f"A{what}, the best at the top. A bar on the right joins groups that differ by less than the critical"
        f" difference of {found.critical_difference:.2f} (Friedman's test, then Nemenyi's).",
        source="ranks",
        rows=[*rows, *bars],
        paper=panel,
        page=panel,
        labelled=True,
    )


def _view(study: Study, found: Ranking, critical: float) -> alt.LayerChart:
    ink, count = alt.ExprRef("ink"), len(found.groups)
    names = alt.Axis(labelLimit=190, ticks=False, domain=False, labelPadding=8)
    base = alt.Chart().encode(y=alt.Y("label:N", sort=[flat(name) for name in found.groups], title=None, axis=names))
    numbers = alt.Axis(orient="top", values=list(range(1, count + 1)), labelOverlap="greedy", format="d")
    x = alt.X("rank:Q", title=None, axis=numbers, scale=alt.Scale(domainMin=1, zero=False, nice=False))
    hue = colour(study, legend=None)
    ranked = base.transform_filter("isValid(datum.rank)").encode(x=x, color=hue)
    bars = base.transform_filter("isValid(datum.clique)").mark_line(aria=False, strokeWidth=2.5, color=ink)
    above = alt.Chart(alt.Data(values=[{"text": f"critical difference {critical:.2f}"}])).encode(
        y=alt.value(-22), x=alt.XDatum(1)
    )
    return alt.layer(
        ranked.mark_rule(aria=False, strokeWidth=0.5).encode(x2=alt.X2Datum(1)),
        bars.encode(x="bar:Q", detail="clique:N", order="group:Q"),
        *points(ranked),
        above.mark_rule(aria=False, color=ink).encode(x2=alt.X2Datum(1 + critical)),
        above.mark_text(aria=False, align="left", dy=-7, color=ink).encode(text="text:N"),
    )
