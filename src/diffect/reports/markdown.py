"""A study as Markdown (table.md), and as plain text for the terminal."""

import re
import textwrap
from collections.abc import Sequence

from tabulate import tabulate

from diffect.reports.cells import TIES, Cell, Table
from diffect.reports.study import Study

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~])")
_BEST = "the best of its column, within a category where there are several"


def markdown_report(study: Study) -> str:
    """table.md: the tables, their notes, and what was left out; any name shows as the text that it is."""
    blocks = []
    for table in study.tables:
        rows = [[item.text("**{}**") if isinstance(item, Cell) else escape(item) for item in row] for row in table.rows]
        cells = _aligned(rows, [escape(title) for title in table.header], "pipe")
        blocks += [f"## {escape(table.title)}", cells, _bullets(table.notes)]
    blocks += ["## notes", _bullets([*study.notes, f"bold: {_BEST}; {TIES}"])]
    if study.left_out:
        items = [f"{item.name}: {item.reason}" for item in study.left_out]
        blocks += [f"Left out ({len(items)}):", _bullets(items)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def terminal_report(study: Study, width: int = 120) -> str:
    """The same for a terminal of `width` columns; a wider table continues below itself."""
    blocks = []
    for table in study.tables:
        blocks += [textwrap.fill(table.title, width), *_blocks(table, width), _wrapped(table.notes, width)]
    notes = [*study.notes, f"*: {_BEST}; {TIES}"]
    if study.left_out:
        notes += [f"left out ({len(study.left_out)}):"]
        notes += [f"- {item.name}: {item.reason}" for item in study.left_out]
    return "\n\n".join(block for block in [*blocks, _wrapped(notes, width)] if block) + "\n"


def escape(text: str) -> str:
    """`text` so that Markdown and HTML show it literally, on one line."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", flat)


def _bullets(texts: Sequence[str]) -> str:
    return "\n".join(f"- {escape(text)}" for text in texts)


def _wrapped(texts: Sequence[str], width: int) -> str:
    return "\n".join(textwrap.fill(_cut(text, 1000), width, subsequent_indent="  ") for text in texts)


def _aligned(rows: Sequence[Sequence[str]], header: Sequence[str], style: str) -> str:
    """In one of tabulate's styles; to the left, so that marks behind figures leave these aligned."""
    return tabulate(rows, header, style, disable_numparse=True)


def _blocks(table: Table, width: int) -> list[str]:
    """The table in as many blocks of columns as it takes; labels are cut to a third of the width together."""
    limit = max(8, width // 3 // table.labels)
    texts = [
        [_cut(item, limit) if isinstance(item, str) else item.text("{}*") for item in row]
        for row in (table.header[: table.labels], *table.rows)
    ]
    texts[0] += table.header[table.labels :]
    widths = [max(len(row[i]) for row in texts) + 4 for i in range(len(table.header))]  # with tabulate's padding
    labels, blocks = range(table.labels), [[table.labels]]
    for place in range(table.labels + 1, len(table.header)):
        if sum(widths[i] for i in (*labels, *blocks[-1], place)) > width:
            blocks.append([])
        blocks[-1].append(place)
    shown = ([[row[i] for i in (*labels, *block)] for row in texts] for block in blocks)
    return ["\n".join(map(str.rstrip, _aligned(rows, header, "simple").splitlines())) for header, *rows in shown]


def _cut(text: str, limit: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
