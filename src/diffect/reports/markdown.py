"""A study as Markdown (table.md), and as plain text for the terminal."""

import re
import textwrap
from collections.abc import Sequence

from tabulate import tabulate

from diffect.reports.cells import TIED, TIES, Cell, Table, split_title, without_zero
from diffect.reports.study import Study

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~])")


def markdown_report(study: Study) -> str:
    """table.md: the tables, their notes, and what was left out; any name shows as the text that it is."""
    blocks = []
    for table in study.tables:
        blocks += [f"## {escape(table.title)}", _markdown(table), _bullets(table.notes)]
    blocks += ["## notes", _bullets([*study.notes, f"bold: the best of its column, or category; {TIES}"])]
    if study.left_out:
        items = [f"{item.name}: {item.reason}" for item in study.left_out]
        blocks += [f"Left out ({len(items)}):", _bullets(items)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def terminal_report(study: Study, width: int = 120) -> str:
    """The same for a terminal of `width` columns; a wider table continues below itself."""
    tables = []
    for table in study.tables:
        tables += [textwrap.fill(table.title, width), _aligned(table, width), _wrapped(table.notes, width)]
    notes = [*study.notes, f"*: the best of its column, within a category where there are several; {TIES}"]
    if study.left_out:
        notes += [f"left out ({len(study.left_out)}):"]
        notes += [f"- {item.name}: {item.reason}" for item in study.left_out]
    return "\n\n".join(block for block in [*tables, _wrapped(notes, width)] if block) + "\n"


def escape(text: str) -> str:
    """`text` so that Markdown and HTML show it literally, on one line."""
    flat = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", flat)


def _bullets(texts: Sequence[str]) -> str:
    return "\n".join(f"- {escape(text)}" for text in texts)


def _wrapped(texts: Sequence[str], width: int) -> str:
    return "\n".join(textwrap.fill(_cut(text, 1000), width, subsequent_indent="  ") for text in texts)


def _markdown(table: Table) -> str:
    rows = [[item and escape(item) if isinstance(item, str) else _bold(item) for item in row] for row in table.rows]
    return _layout([escape(title) for title in table.header], rows, table.labels, "pipe")


def _layout(header: Sequence[str], rows: Sequence[Sequence[str]], labels: int, style: str) -> str:
    """Columns side by side, the labels to the left and the figures to the right, in one of tabulate's styles."""
    sides = ["left"] * labels + ["right"] * (len(header) - labels)
    options = {"disable_numparse": True, "preserve_whitespace": True}
    return tabulate(rows, header, style, colalign=sides, headersalign=sides, **options)


def _bold(cell: Cell) -> str:
    if not cell.mean:
        return "–"
    mean = f"**{cell.mean}**" if cell.best else cell.mean
    return mean + (f" ± {cell.half}" if cell.half else "") + TIED * cell.tied + cell.mark


def _column(items: Sequence[str | Cell], limit: int) -> list[str]:
    """A column's texts; marks stand to the right of the figures, so that these stay aligned."""
    marks = ["" if isinstance(item, str) else "*" * item.best + TIED * item.tied + item.mark for item in items]
    room = max(map(len, marks))
    texts = []
    for item, mark in zip(items, marks, strict=True):
        if isinstance(item, str):
            texts.append(_cut(item, limit))
            continue
        half = "" if item.half is None else "±" + without_zero(item.half)
        texts.append((item.mean or "–") + half + mark.ljust(room))
    return texts


def _aligned(table: Table, width: int) -> str:
    """Aligned columns; labels are cut to a third of the width together, figures wrap into further blocks."""
    limit = max(8, width // 3 // table.labels)
    header = [_cut(title, limit) for title in table.header[: table.labels]]
    header += ["\n".join(split_title(title)).strip() for title in table.header[table.labels :]]
    columns = [_column([row[i] for row in table.rows], limit) for i in range(len(header))]

    def block(figures: Sequence[int]) -> str:
        shown = [*range(table.labels), *figures]
        rows = list(zip(*(columns[i] for i in shown), strict=True))
        return _layout([header[i] for i in shown], rows, table.labels, "simple")

    blocks: list[list[int]] = [[]]
    for place in range(table.labels, len(header)):
        if blocks[-1] and max(map(len, block([*blocks[-1], place]).splitlines())) > width:
            blocks.append([])
        blocks[-1].append(place)
    lines = (line.rstrip() for figures in blocks for line in [*block(figures).splitlines(), ""])
    return "\n".join(lines).rstrip("\n")


def _cut(text: str, limit: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
