"""What the runs train by, and how they learn: noise schedules, and the losses that chose the weights."""

import math
from itertools import pairwise
from typing import Any

import altair as alt

from diffect.config.description import counted
from diffect.reports.charts.axes import leading
from diffect.reports.charts.base import Chart, Panel, Rows, colour, colour_of, dashes, flat, hues, rounded
from diffect.reports.study import Study
from diffect.runs import grid
from diffect.runs.record import Curves

_NONE = "no figure of the noise schedules"
_POINTS = 120  # of a curve of losses; a screen shows no more
_CURVES = ("t", "log_snr", "density", "weight")
_VIEWS = (
    ("log-SNR over time", "t:Q", "t", "log_snr:Q", "log-SNR"),
    ("training density p", "log_snr:Q", "log-SNR", "density:Q", "p(log-SNR)"),
    ("effective weight p w", "log_snr:Q", "log-SNR", "weight:Q", "p w"),
)


def schedules(study: Study) -> Chart | str:
    """The distinct schedules that runs train by: log-SNR over t, density over log-SNR, and effective weight."""
    if not any("schedule" in run.record.description for run in study.runs):
        return f"{_NONE}: no run trains by one"
    rows = schedule_rows(study)
    if not rows:
        return f"{_NONE}: no record holds one"
    names, shades = [row["name"] for row in rows], {row["hue"] for row in rows}
    if None in shades:
        return schedule_chart(rows, colour_of("name", names))
    namesakes = len(names) > len(shades)
    return schedule_chart(rows, colour(study), alt.StrokeDash("name:N", title=None) if namesakes else alt.Undefined)


def schedule_chart(rows: Rows, hue: alt.Color, dash: Any = alt.Undefined) -> Chart:
    """Three views of schedules, one in each of `rows`: name, t, log_snr, density and weight."""
    views = []
    for title, across, x, up, y in _VIEWS:
        height = alt.Y(up, title=y, scale=alt.Scale(zero=up != "log_snr:Q", nice=False))
        line = alt.Chart().transform_flatten(list(_CURVES)).mark_line(strokeWidth=1.4)
        line = line.encode(x=alt.X(across, title=x), y=height, color=hue, strokeDash=dash, detail="name:N")
        views.append(Panel(alt.layer(line), title))
    return Chart(
        name="schedules",
        title="Schedules",
        caption="The noise schedules of training: log-SNR over time, the density of log-SNR, and the effective weight,"
        " density times loss weight, scaled to unit area.",
        source="schedules",
        rows=rows,
        paper=tuple(views),
        page=tuple(views),
    )


def schedule_rows(study: Study) -> Rows:
    """Each distinct schedule once, in natural order: its curves, its users, and their colour if they share one.

    Schedules of one name are told apart by the axes that are the same in all of their runs, or else by a number.
    """
    places = {id(run): place for place, group in enumerate(study.groups) for run in group.runs}
    users: dict[str, tuple[Curves, list[int]]] = {}
    for run in study.runs:
        if (curves := run.record.schedule) is not None and "schedule" in run.record.description:
            users.setdefault(repr(curves), (curves, []))[1].append(places[id(run)])
    plain = [curves.name for curves, _ in users.values()]
    rows: Rows = []
    for curves, runs in users.values():
        groups = [study.groups[place] for place in sorted(set(runs))]
        shared = [
            values[0] for values in zip(*(group.values for group in groups), strict=True) if len(set(values)) == 1
        ]
        others = [] if plain.count(curves.name) == 1 else [value for value in shared if value != curves.name]
        shades = {flat(group.values[leading(study)]) for group in groups if group.values}
        name = flat(", ".join([curves.name, *others]) if plain.count(curves.name) > 1 else curves.name)
        hue = shades.pop() if len(shades) == 1 < len(hues(study)) else None
        about = {"name": name, "hue": hue, "groups": sorted(set(runs))}
        rows.append(about | {"text": f"trained by {counted(len(runs), 'run')}"} | schedule_curves(curves))
    rows.sort(key=lambda row: grid.natural([row["name"]]))
    names = [row["name"] for row in rows]
    for place, (row, name) in enumerate(zip(rows, names, strict=True)):
        same = names[:place].count(name)
        row["name"] += f" #{same + 1}" if same else ""
    return rows


def schedule_curves(curves: Curves) -> dict[str, list[float | None]]:
    """The four curves; the weight has unit area over log-SNR, since a factor is no more than a learning rate.

    Raises ValueError for lists of different lengths.
    """
    lines = {name: getattr(curves, name) for name in _CURVES}
    if len(sizes := {len(line) for line in lines.values()}) > 1 or min(sizes) < 2:
        raise ValueError(f"the schedule '{curves.name}' should have four lists of one length, found {sorted(sizes)}")
    known = [(x, w) for x, w in zip(curves.log_snr, curves.weight, strict=True) if x is not None and w is not None]
    area = math.fsum(abs(b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(known)) or 1.0
    lines["weight"] = [None if w is None else w / area for w in curves.weight]
    return {name: [None if x is None else rounded(x) for x in line] for name, line in lines.items()}


def losses(study: Study) -> Chart | str:
    """The selection loss of each run that learned by steps: its lowest chose the weights."""
    rows: Rows = []
    for place, group in enumerate(study.groups):
        for run in group.runs:
            known = [(step, rounded(loss)) for step, loss in run.record.training.losses if loss and loss > 0]
            if len(known) > 1:
                steps, values = zip(*known[:: math.ceil(len(known) / _POINTS)], known[-1], strict=True)
                row = {"group": place, "run": run.record.signature, "step": steps, "loss": values}
                rows.append(row | {"text": f"lowest loss {min(loss for _, loss in known):g}"})
    if not rows:
        return ""
    line = alt.Chart().transform_flatten(["step", "loss"]).mark_line(strokeWidth=1.2, opacity=0.8)
    x, y = alt.X("step:Q", title="step"), alt.Y("loss:Q", title=None, scale=alt.Scale(type="log", nice=False))
    view = line.encode(x=x, y=y, color=colour(study), strokeDash=dashes(study), detail="run:N")
    return Chart(
        name="losses",
        title="Learning",
        caption="Loss on held-out normal images at fixed noise; the lowest chose the weights. A line for each run.",
        source="losses",
        rows=rows,
        paper=(),
        page=(Panel(alt.layer(view), "selection loss"),),
        most=240,
    )
