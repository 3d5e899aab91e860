"""A study as Markdown (table.md), and as plain text for the terminal."""

import re
import textwrap
from collections.abc import Sequence

from diffect.reports.cells import TIED, TIES, Cell, Table, split_title, without_zero
from diffect.reports.study import Study

_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~])")


def markdown_report(study: Study) -> str:
    """table.md: the tables, their notes, and what was left out; any name shows as the text that it is."""
    blocks = []
    for sheet in study.tables:
        blocks += [f"## {escape(sheet.title)}", _markdown(sheet), _bullets(sheet.notes)]
    blocks += ["## notes", _bullets([*study.notes, f"bold: the best of its column, or category; {TIES}"])]
    if study.left_out:
        items = [f"{item.name}: {item.reason}" for item in study.left_out]
        blocks += [f"Left out ({len(items)}):", _bullets(items)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def terminal_report(study: Study, width: int = 120) -> str:
    """The same for a terminal of `width` columns; a wider table continues below itself."""
    tables = []
    for sheet in study.tables:
        tables += [textwrap.fill(sheet.title, width), _aligned(sheet, width), _wrapped(sheet.notes, width)]
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


def _markdown(sheet: Table) -> str:
    rows = [[item and escape(item) if isinstance(item, str) else _bold(item) for item in row] for row in sheet.rows]
    rule = ["---" if place < sheet.labels else "---:" for place in range(len(sheet.header))]
    table = [[escape(title) for title in sheet.header], rule, *rows]
    return "\n".join("| " + " | ".join(row) + " |" for row in table)


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


def _aligned(sheet: Table, width: int) -> str:
    """Aligned columns; labels are cut to a third of the width together, figures wrap into further blocks."""
    limit = max(8, width // 3 // sheet.labels)
    header = [_cut(title, limit) for title in sheet.header[: sheet.labels]] + list(sheet.header[sheet.labels :])
    columns = [_column([row[i] for row in sheet.rows], limit) for i in range(len(header))]
    rows = list(zip(*columns, strict=True))
    heads = [split_title(title) for title in header]
    widths = [max(*(len(part) for part in heads[i]), *(len(row[i]) for row in rows)) for i in range(len(header))]
    blocks: list[list[int]] = [[]]
    room = width - sum(size + 2 for size in widths[: sheet.labels])
    used = 0
    for i in range(sheet.labels, len(header)):
        if blocks[-1] and used + widths[i] + 2 > room:
            blocks.append([])
            used = 0
        blocks[-1].append(i)
        used += widths[i] + 2
    texts = []
    for block in blocks:
        shown = [*range(sheet.labels), *block]
        top = [_line([heads[i][0] for i in shown], [widths[i] for i in shown], sheet.labels)]
        top += [_line([heads[i][1] for i in shown], [widths[i] for i in shown], sheet.labels)]
        body = [_line([row[i] for i in shown], [widths[i] for i in shown], sheet.labels) for row in rows]
        rule = "-" * max(len(line) for line in [*top, *body])
        texts.append("\n".join([*(line for line in top if line), rule, *body]))
    return "\n\n".join(texts)


def _line(parts: Sequence[str], widths: Sequence[int], labels: int) -> str:
    cells = [
        part.ljust(size) if place < labels else part.rjust(size)
        for place, (part, size) in enumerate(zip(parts, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _cut(text: str, limit: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= limit else flat[: limit - 1] + "…"
