"""The study's tables as HTML: each row says its group, category and metric, so that a figure leads to its runs."""

from collections.abc import Iterable, Sequence
from html import escape

from diffect.reports.cells import METRIC, NONE, WARNED, Cell, Table, figure_text
from diffect.reports.study import Study
from diffect.runs import grid
from diffect.runs.grid import short
from diffect.runs.record import METRICS

_REFERENCE = "reference"  # a row that keeps its place below the others, however they are sorted
_METRICS = {metric.title: metric for metric in METRICS}


def tables_html(study: Study) -> str:
    """All tables of the study, each with its notes."""
    return "\n".join(_study_table(study, sheet) + _notes(sheet.notes) for sheet in study.tables)


def runs_html(study: Study) -> str:
    """Every run on each of its categories."""
    metrics = list(study.estimates)
    labels = ["run", *short(study.axes), "category", "seed"]
    rows = []
    for place, run in enumerate(study.runs):
        opens = f'<button type="button" class="link code">{run.record.signature}</button>'
        for category in run.record.categories:
            known = (*(run.choice(axis) for axis in study.axes), category, str(run.record.seed))
            values = ((name, grid.figure(run, category, name)) for name in metrics)
            texts = [NONE if value is None else figure_text(METRIC[name], value) for name, value in values]
            rows.append(_row([opens, *map(escape, known), *texts], len(labels), run=place, category=category))
    caption = "Every run on each of its categories; a run opens with its 95% intervals over test images"
    return _table(caption, [*labels, *(METRIC[name].title for name in metrics)], len(labels), rows)


def _study_table(study: Study, sheet: Table) -> str:
    axes = short(study.axes or ("study",))
    groups = {group.values or (study.name,): place for place, group in enumerate(study.groups)}
    rows: list[str] = []
    foot: list[str] = []
    named = set()
    for place, row in enumerate(sheet.rows):
        labels = dict(zip(sheet.header, map(str, row[: sheet.labels]), strict=False))
        group = groups.get(tuple(labels.get(axis, "") for axis in axes))
        named.add(group)
        metric = _METRICS.get(labels.get("metric", ""))
        cells = [escape(str(item)) for item in row[: sheet.labels]]
        cells += [
            _cell(Cell(item) if isinstance(item, str) else item, group is not None) for item in row[sheet.labels :]
        ]
        is_foot = group is None and row[0] == _REFERENCE
        known: dict[str, object] = {"group": group, "category": labels.get("category", "").removesuffix(WARNED) or None}
        known |= {
            "metric": metric.name if metric else None,
            "class": "ruled" if place in sheet.rules and not is_foot else None,
        }
        (foot if is_foot else rows).append(_row(cells, sheet.labels, **known))
    # What has no row for the baseline is made of differences from it, and so of its runs too.
    baseline = None if study.comparison is None else study.groups.index(study.comparison.baseline)
    less = None if baseline in named else baseline
    return _table(sheet.caption, sheet.header, sheet.labels, rows, foot, less)


def _table(
    caption: str,
    header: Sequence[str],
    labels: int,
    rows: Iterable[str],
    foot: Iterable[str] = (),
    less: int | None = None,
) -> str:
    """A table; the metric of a column is that in its title, or that left of it: a p belongs to its difference."""
    heads, metric = [], None
    for place, title in enumerate(header):
        metric = _METRICS.get(title, metric if place > labels else None)
        low = metric is not None and metric.higher_is_better is False
        known: dict[str, object] = {"scope": "col", "class": "number" if place >= labels else None, "aria-sort": "none"}
        known |= {"data-metric": metric.name if metric else None, "data-low": "" if low else None}
        heads.append(f'<th{_attributes(known)}><button type="button">{escape(title)}</button></th>')
    about = _attributes({"aria-label": caption, "data-labels": labels, "data-less": less})
    body = "\n".join(["<tbody>", *rows, "</tbody>", "<tfoot>", *foot, "</tfoot>"])
    return (
        f'<div class="sheet">\n<h3>{escape(caption)}</h3>\n<div class="wide"><table{about}>\n'
        f"<thead><tr>{''.join(heads)}</tr></thead>\n{body}\n</table></div>\n</div>\n"
    )


def _row(cells: Sequence[str], labels: int, **known: object) -> str:
    about = {name if name == "class" else f"data-{name}": value for name, value in known.items()}
    heads = "".join(f'<th scope="row">{cell}</th>' for cell in cells[:labels])
    figures = "".join(f'<td class="number">{cell}</td>' for cell in cells[labels:])
    return f"<tr{_attributes(about)}>{heads}{figures}</tr>"


def _cell(cell: Cell, opens: bool) -> str:
    if not cell.mean:
        return NONE
    text = f"<strong>{cell.mean}</strong>" if cell.best else escape(cell.mean)
    text += f' <span class="half">{escape(cell.spread)}</span>' if cell.spread else ""
    text += f"<sup>{cell.mark}</sup>" if cell.mark else ""
    return f'<button type="button" class="figure" tabindex="-1">{text}</button>' if opens else text


def _attributes(known: dict[str, object]) -> str:
    return "".join(f' {name}="{escape(str(value))}"' for name, value in known.items() if value is not None)


def _notes(notes: Sequence[str]) -> str:
    items = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return f'<ul class="notes">{items}</ul>\n' if items else ""
