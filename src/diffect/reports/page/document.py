"""The page's text: a template filled with the study, styles and scripts, so that one file is all there is."""

import json
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from pathlib import Path

from diffect.reports.cells import METRIC
from diffect.reports.charts.base import Chart
from diffect.reports.charts.render import vega_script
from diffect.reports.comparison import COMPARED
from diffect.reports.page.content import page_data
from diffect.reports.page.pictures import embed_galleries
from diffect.reports.page.tables import runs_html, tables_html
from diffect.reports.study import Study
from diffect.storage.atomic import write_atomic

NAME = "report.html"
# In this order they are one script; a file uses the names of those before it.
SCRIPTS = tuple(f"{name}.js" for name in ("dom", "state", "dialog", "table", "charts", "gallery", "main"))
_CAUTION = "this ranking is no evidence"


def write_page(study: Study, charts: list[Chart], out: Path, elsewhere: Sequence[str] = ()) -> list[str]:
    """Write `out`/report.html and return what was left out of it, a sentence each; the same study, the same bytes.

    `elsewhere` are sentences on what the source and the report's other parts left out; the page shows them too.

    It loads nothing: styles, scripts, data and pictures stand in it, pictures up to `pictures.ROOM`. Tables, plots
    and the gallery are made by its scripts; verdicts, notes and what was left out are plain text.
    """
    embedded, galleries, problems = embed_galleries(study)
    data = {**page_data(study, charts), "pictures": embedded, "galleries": galleries}
    write_atomic(out / NAME, page_html(study, _json(data), [*elsewhere, *problems]))
    return problems


def page_html(study: Study, data: str, problems: Sequence[str]) -> str:
    """The page as text, with `data` as JSON that may stand in a script element."""
    left_out = [*(f"{item.name}: {item.reason}" for item in study.left_out), *problems]
    parts = {
        "name": escape(study.name),
        "scope": escape(study.tables[0].title.removeprefix(f"{study.name}: ")),
        "verdicts": _items(_verdicts(study)),
        "notes": _items(study.notes),
        "left_out": _items(left_out or ["nothing."]),
        "left_out_count": str(len(left_out)),
        "tables": tables_html(study),
        "runs": runs_html(study),
        "style": _asset("style.css"),
        "vega": vega_script(),
        "script": "\n".join(_asset(name) for name in SCRIPTS),
        "data": data,
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("page.html"))


def _verdicts(study: Study) -> list[str]:
    """What a reader takes home: a caution where the study is none, then what the differences show in each metric."""
    titles = tuple(METRIC[metric].title for metric in COMPARED)
    verdicts = [note for sheet in study.tables for note in sheet.notes if note.startswith(titles)]
    return [note for note in study.notes if note.startswith(_CAUTION)] + (verdicts or list(study.notes[:1]))


def _items(texts: Sequence[str]) -> str:
    return "\n".join(f"<li>{escape(text)}</li>" for text in dict.fromkeys(texts))


def _json(data: object) -> str:
    """JSON in ASCII that ends no script element and opens no comment in it."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return (resources.files(__package__) / "assets" / name).read_text(encoding="utf-8").rstrip("\n")
