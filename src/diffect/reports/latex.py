"""A study as LaTeX: booktabs tables, to be read by \\input; needs the packages booktabs and graphicx only."""

import math
import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace

from diffect.reports.cells import TIES, Cell, Table
from diffect.reports.escaping import breakable, escape
from diffect.reports.study import Study

_LINES = 56  # of \scriptsize on a page, less the caption and the header
_FEWEST = 12  # rows of a table, however long its notes
_NOTE = 120  # letters of a note on a line
_TITLE = 8  # letters of a column's title on a line
_FLOATS = 10  # tables after which those that wait are set: LaTeX holds some fifty


def latex_tables(study: Study) -> str:
    """table.tex: an environment per table, the study's notes under the first, its own under each other.

    The caption of the first says of which runs the study is made too.
    """
    tables = []
    for place, sheet in enumerate(study.tables):
        label = f"tab:{slug(study.name)}{'' if place == 0 else f'-{place + 1}'}"
        notes = (*study.notes, f"bold: the best of its column, or category; {TIES}") if place == 0 else sheet.notes
        title = f"{sheet.title}. {sheet.caption}" if place == 0 else sheet.caption
        tables += table_environments(replace(sheet, title=title), notes, label)
    blocks = ["% Needs \\usepackage{booktabs,graphicx}. Written by diffect report; the records are the source.\n"]
    for place, table in enumerate(tables, 1):
        blocks.append(table + ("\\clearpage\n" if place % _FLOATS == 0 else ""))
    return "\n".join(blocks)


def slug(name: str) -> str:
    """`name` as a part of labels."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "study"


def table_environments(sheet: Table, notes: Sequence[str], label: str) -> list[str]:
    """A table environment, or several where one would be taller than a page; the last has the notes below it.

    Notes that would take more than half a page are paragraphs after the table, where pages can break.
    """
    lines = sum(math.ceil(len(note) / _NOTE) for note in notes)
    apart = lines > _LINES / 2
    parts = _parts(sheet, max(_FEWEST, _LINES - (0 if apart else lines)))
    tables = []
    for number, rows in enumerate(parts, 1):
        title = sheet.title + (f" ({number} of {len(parts)})" if len(parts) > 1 else "")
        below = notes if number == len(parts) and not apart else ()
        tables.append(_environment(sheet, title, rows, below, label if number == 1 else f"{label}-part-{number}"))
    if apart:
        tables[-1] += "\n{\\scriptsize\\raggedright\n" + _paragraphs(notes) + "\n}\n"
    return tables


def _parts(sheet: Table, room: int) -> list[range]:
    """The rows of each table, at most `room`, cut at a line between rows where there is one."""
    starts, end = [0], len(sheet.rows) - sheet.quoted
    while end - starts[-1] > room:
        lines = [rule for rule in sheet.rules if starts[-1] < rule <= starts[-1] + room]
        starts.append(lines[-1] if lines else starts[-1] + room)
    return [range(*part) for part in zip(starts, [*starts[1:], end], strict=True)]


def _environment(sheet: Table, title: str, rows: range, notes: Sequence[str], label: str) -> str:
    body = []
    for i in rows:
        body += [r"\midrule"] if i in sheet.rules and i != rows.start else []
        texts = (_cell(item) if isinstance(item, Cell) else escape(item) for item in sheet.rows[i])
        body.append(" & ".join(texts) + r" \\")
    lines = [
        r"\begin{table}[tbp]",
        r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{breakable(title)}.}}",
        rf"\label{{{label}}}",
        # A table wider than the text is made smaller, never cut off.
        rf"\sbox0{{\begin{{tabular}}{{{'l' * sheet.labels}{'r' * (len(sheet.header) - sheet.labels)}}}",
        r"\toprule",
        " & ".join([*map(escape, sheet.header[: sheet.labels]), *map(_head, sheet.header[sheet.labels :])]) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
        r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
    ]
    if notes:
        lines += ["", r"\smallskip\begin{minipage}{\linewidth}\scriptsize\raggedright"]
        lines += [_paragraphs(notes), r"\end{minipage}"]
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _paragraphs(notes: Sequence[str]) -> str:
    return "\n".join(breakable(note) + r"\par" for note in notes)


def _head(title: str) -> str:
    """The title of a column of figures, over several lines where it would be wider than these."""
    lines = textwrap.wrap(title, _TITLE, break_long_words=False)
    return r"\shortstack[r]{" + r"\\".join(map(escape, lines)) + "}" if len(lines) > 1 else escape(title)


def _cell(cell: Cell) -> str:
    if not cell.mean:
        return "--"
    mean = rf"\mathbf{{{cell.mean}}}" if cell.best else cell.mean
    # Small and without zeros before the point, so that seven columns fit a page of one column.
    spread = re.sub(r"\b0(?=\.)", "", cell.spread).replace("± ", r"\pm")
    small = rf"{{\scriptstyle{spread}}}" if spread else ""
    return f"${mean}{small}${escape(cell.mark)}"
