"""paper.tex: the parts of a paper put together, so that it compiles as it stands; the author's own text is read in."""

from collections.abc import Sequence

from diffect.reports.charts.base import Chart
from diffect.reports.comparison import COMPARED
from diffect.reports.comparison_notes import difference_notes
from diffect.reports.escaping import breakable, escape
from diffect.reports.latex import slug
from diffect.reports.notes import evidence
from diffect.reports.study import Study

_PREAMBLE = r"""% Written by diffect report, and written anew by the next; text of your own goes into files beside it:
% prose.tex       what stands before the methods; it sets \title and \author and calls \maketitle itself
% discussion.tex  what stands after the results
% own.bib         works that these two cite, beside those of references.bib
\documentclass[10pt]{article}
\usepackage[margin=1in]{geometry}
\usepackage{booktabs,graphicx}
\usepackage[expansion=false]{microtype}
\usepackage[hidelinks]{hyperref}
\emergencystretch=2em
\raggedbottom
\input{numbers}
"""


MAPS = "maps.png"
_MAPS = "Images, true masks and anomaly maps of one run of each of up to six groups."


def paper_tex(study: Study, charts: Sequence[Chart], has_maps: bool, reasons: Sequence[str]) -> str:
    """paper.tex with the figures of the charts, under their captions, and the reasons for those that are not there."""
    figures = {f"{chart.name}.pdf": f"{chart.caption} {chart.lacking}".strip() for chart in charts}
    figures |= {MAPS: _MAPS} if has_maps else {}
    blocks = [
        _PREAMBLE + rf"\title{{The study {breakable(study.name)}}}" + "\n\\author{}\n\\date{}",
        r"\begin{document}" + "\n" + r"\IfFileExists{prose.tex}{\input{prose}}{\maketitle}",
        r"\section{Methods}" + "\n" + r"\input{methods}",
        r"\section{Results}" + "\n" + _results(study, reasons),
        r"\input{table}",
        *(_figure(name, breakable(text), slug(study.name)) for name, text in figures.items()),
        r"\IfFileExists{discussion.tex}{\input{discussion}}{}",
        r"\clearpage",
        r"\bibliographystyle{abbrv}",
        r"\IfFileExists{own.bib}{\bibliography{references,own}}{\bibliography{references}}",
        r"\end{document}",
    ]
    return "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def _results(study: Study, reasons: Sequence[str]) -> str:
    """What the study shows and what it does not, in sentences."""
    comparison = study.comparison
    verdicts: tuple[str, ...] = ("There is one group, and nothing to compare it with.",)
    if comparison is not None:
        verdicts = difference_notes(comparison)[: len(COMPARED)]
    sentences = [*evidence(study), *verdicts, *(f"{reason}." for reason in reasons)]
    items = "\n".join(rf"\item {breakable(text[:1].upper() + text[1:])}" for text in sentences if text)
    return f"Table~\\ref{{tab:{slug(study.name)}}} has the means.\n\\begin{{itemize}}\n{items}\n\\end{{itemize}}"


def _figure(name: str, caption: str, study: str) -> str:
    stem = name.partition(".")[0]
    size = r"width=\linewidth,height=0.85\textheight,keepaspectratio"
    return "\n".join(
        [
            r"\begin{figure}[tbp]",
            r"\centering",
            rf"\includegraphics[{size}]{{{escape(name)}}}",
            rf"\caption{{{caption}}}",
            rf"\label{{fig:{study}-{stem}}}",
            r"\end{figure}",
        ]
    )
