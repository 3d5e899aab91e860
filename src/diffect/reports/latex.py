"""A study as LaTeX: one booktabs table per sheet, to be read by \\input; needs the package booktabs only."""

import re

from diffect.reports.cells import Cell, Sheet, compact, two_lines
from diffect.reports.study import Study

_ESCAPES = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    # At the beginning of a row these two would be read as an option of the \\ before it.
    "[": "{[}",
    "*": "{*}",
    "±": r"$\pm$",
    "†": r"$^{\dagger}$",
    "‡": r"$^{\ddagger}$",
    "§": r"$^{\S}$",
    "•": r"$^{\bullet}$",
    "–": "--",
    "…": r"\ldots{}",
}
_SPECIAL = re.compile("|".join(map(re.escape, _ESCAPES)))


def document(study: Study) -> str:
    """table.tex: a table environment per sheet, the study's notes under the first, its own under each other."""
    tables = [_table(sheet, study, place) for place, sheet in enumerate(study.sheets)]
    return "% Needs \\usepackage{booktabs}. Written by diffect report; the records are the source.\n" + "\n".join(
        tables
    )


def escape(text: str) -> str:
    """`text` so that LaTeX sets it literally, on one line."""
    return _SPECIAL.sub(lambda match: _ESCAPES[match[0]], " ".join(text.split()))


def _table(sheet: Sheet, study: Study, place: int) -> str:
    columns = "l" * sheet.labels + "r" * (len(sheet.header) - sheet.labels)
    body = [
        line for i, row in enumerate(sheet.rows) for line in ([r"\midrule"] if i in sheet.rules else []) + [_row(row)]
    ]
    notes = study.notes if place == 0 else sheet.notes
    slug = re.sub(r"[^a-z0-9]+", "-", study.name.lower()).strip("-") or "study"
    lines = [
        r"\begin{table}[tbp]",
        r"\centering\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{escape(sheet.title)}.}}",
        rf"\label{{tab:{slug}{'' if place == 0 else f'-{place + 1}'}}}",
        # A table a little wider than the text hangs over on both sides alike.
        rf"\makebox[\linewidth]{{\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(_head(title, i >= sheet.labels) for i, title in enumerate(sheet.header)) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}}",
    ]
    if notes:
        lines += ["", r"\smallskip\begin{minipage}{\linewidth}\scriptsize\raggedright"]
        lines += [escape(note) + r"\par" for note in notes]
        lines.append(r"\end{minipage}")
    return "\n".join([*lines, r"\end{table}"]) + "\n"


def _head(title: str, figures: bool) -> str:
    """A column's title, over two lines where it would be wider than its figures."""
    upper, lower = two_lines(title) if figures else ("", title)
    return rf"\shortstack[r]{{{escape(upper)}\\{escape(lower)}}}" if upper else escape(lower)


def _row(row: tuple[str | Cell, ...]) -> str:
    return " & ".join(escape(item) if isinstance(item, str) else _cell(item) for item in row) + r" \\"


def _cell(cell: Cell) -> str:
    if not cell.mean:
        return "--"
    mean = rf"\mathbf{{{cell.mean}}}" if cell.best else cell.mean
    # Small and without its zero, so that seven columns fit a page of one column.
    half = rf"{{\scriptstyle\pm{compact(cell.half)}}}" if cell.half else ""
    return f"${mean}{half}${escape(cell.mark)}"
