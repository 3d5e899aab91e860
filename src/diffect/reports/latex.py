"""A study as LaTeX: booktabs tables, to be read by \\input; needs the packages booktabs and graphicx only."""

import math
import re
from collections.abc import Sequence
from dataclasses import replace

from diffect.reports.cells import TIES, Cell, Table, split_title, without_zero
from diffect.reports.escaping import breakable, escape
from diffect.reports.study import Study

_LINES = 56  # of \scriptsize on a page, less the caption and the header
_FEWEST = 12  # lines of rows in a table, however long its notes
_NOTE = 120  # letters of a note on a line
_LABEL = 24  # letters of a label that stay on one line
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
    """The rows of each table, so that none is taller than `room` lines."""
    wrapped, letters = _wrapped(sheet), 2 * _width(sheet)
    starts, used = [0], 0
    for i, row in enumerate(sheet.rows):
        lines = max((math.ceil(len(str(row[place])) / letters) for place in wrapped), default=1)
        if used + lines > room and i > starts[-1]:
            starts.append(i)
            used = 0
        used += lines
    ends = [*starts[1:], len(sheet.rows)]
    return [range(start, end) for start, end in zip(starts, ends, strict=True)]


def _environment(sheet: Table, title: str, rows: range, notes: Sequence[str], label: str) -> str:
    wrapped = _wrapped(sheet)
    labels = "".join(f"p{{{_width(sheet)}em}}" if i in wrapped else "l" for i in range(sheet.labels))
    body = []
    for i in rows:
        body += [r"\midrule"] if i in sheet.rules and i != rows.start else []
        body.append(_row(sheet.rows[i], wrapped))
    lines = [
        r"\begin{table}[tbp]",
        r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{breakable(title)}.}}",
        rf"\label{{{label}}}",
        # A table wider than the text is made smaller, never cut off.
        rf"\sbox0{{\begin{{tabular}}{{{labels}{'r' * (len(sheet.header) - sheet.labels)}}}",
        r"\toprule",
        " & ".join(_head(title, i >= sheet.labels) for i, title in enumerate(sheet.header)) + r" \\",
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


def _wrapped(sheet: Table) -> list[int]:
    """The label columns that hold a long text, which then takes several lines."""
    return [i for i in range(sheet.labels) if any(len(str(row[i])) > _LABEL for row in sheet.rows)]


def _width(sheet: Table) -> int:
    """Of a column that wraps, in em, about two letters each."""
    return 4 + 16 // sheet.labels


def _paragraphs(notes: Sequence[str]) -> str:
    return "\n".join(breakable(note) + r"\par" for note in notes)


def _head(title: str, figures: bool) -> str:
    """A column's title, over two lines where it would be wider than its figures."""
    upper, lower = split_title(title) if figures else ("", title)
    return rf"\shortstack[r]{{{escape(upper)}\\{escape(lower)}}}" if upper else escape(lower)


def _row(row: tuple[str | Cell, ...], wrapped: Sequence[int]) -> str:
    texts = []
    for place, item in enumerate(row):
        if isinstance(item, Cell):
            texts.append(_cell(item))
        else:
            texts.append(rf"\raggedright {breakable(item)}" if place in wrapped else escape(item))
    return " & ".join(texts) + r" \\"


def _cell(cell: Cell) -> str:
    if not cell.mean:
        return "--"
    mean = rf"\mathbf{{{cell.mean}}}" if cell.best else cell.mean
    # Small and without its zero, so that seven columns fit a page of one column.
    half = rf"{{\scriptstyle\pm{without_zero(cell.half)}}}" if cell.half else ""
    tied = r"^{\approx}" if cell.tied else ""
    return f"${mean}{half}{tied}${escape(cell.mark)}"
