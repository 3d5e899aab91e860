"""paper.tex: the parts of a paper put together, so that it compiles as it stands; the author's own text is read in."""

from collections.abc import Sequence

from diffect.reports.cells import METRIC
from diffect.reports.charts import curves, groups_left_out
from diffect.reports.comparison import COMPARED
from diffect.reports.comparison_notes import difference_notes
from diffect.reports.escaping import breakable, escape
from diffect.reports.figures import comparison, levels
from diffect.reports.latex import slug
from diffect.reports.notes import evidence
from diffect.reports.study import Study
from diffect.runs.grid import short

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


def paper_tex(study: Study, pictures: Sequence[str], reasons: Sequence[str]) -> str:
    """paper.tex, with those of the figures that are there, and the reasons for those that are not."""
    blocks = [
        _PREAMBLE + rf"\title{{The study {breakable(study.name)}}}" + "\n\\author{}\n\\date{}",
        r"\begin{document}" + "\n" + r"\IfFileExists{prose.tex}{\input{prose}}{\maketitle}",
        r"\section{Methods}" + "\n" + r"\input{methods}",
        r"\section{Results}" + "\n" + _results(study, reasons),
        r"\input{table}",
        *(_figure(name, text, slug(study.name)) for name, text in _captions(study).items() if name in pictures),
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


def _captions(study: Study) -> dict[str, str]:
    """What stands under each figure: no more than is drawn."""
    dots = "Small dots are the means of single seeds, the" if comparison.seeds_drawn(study) else "The"
    over_seeds = ", with 95\\% intervals over seeds where there are several" if levels.with_intervals(study) else ""
    absent = {name: f" {breakable(text[0].upper() + text[1:])}." for name, text in groups_left_out(study).items()}
    return {
        "schedules.pdf": (
            "The noise schedules of training: log-SNR over time, the density of log-SNR, and the effective weight,"
            " density times loss weight, scaled to unit area."
        ),
        "comparison.pdf": (
            f"Mean and 95\\% interval of each group. {dots} dotted line is a figure that the field quotes, a hollow"
            " marker is a mean that lacks a category."
        ),
        "curves.pdf": _along(study),
        "levels.pdf": f"What each scoring level alone would give: mean over categories and seeds{over_seeds}."
        + absent.get("levels", ""),
        "pareto.pdf": (
            "Quality against latency, with 95\\% intervals. The line is the Pareto front of the means: no other group"
            " is as fast and better." + absent.get("pareto", "")
        ),
        "ranks.pdf": (
            "Average ranks, the best on the left. A bar joins groups that differ by less than the critical difference."
        ),
        "maps.png": "Images, true masks and anomaly maps of one run of each of up to six groups.",
    }


def _along(study: Study) -> str:
    """The caption of the curves; empty where the study has none."""
    found = curves.curves(study)
    if found is None:
        return ""
    titles = " and ".join(METRIC[metric].title for metric in found.metrics)
    names = short(study.axes)
    others = names[: found.axis] + names[found.axis + 1 :]
    drawn = [one for line in found.lines for metric in found.metrics for one in curves.estimates(study, line, metric)]
    shown = [one for one in drawn if one is not None and one.value is not None]
    half = ", with 95\\% intervals" if any(one.half is not None for one in shown) else ""
    lines = f", a line for each {' and '.join(map(breakable, others))}" if len(found.lines) > 1 else ""
    sentences = [
        f"{titles[:1].upper()}{escape(titles[1:])} along {breakable(study.axes[found.axis])}: mean over categories and"
        f" seeds{half}{lines}."
    ]
    if found.apart:
        sentences.append("The last place, apart from the scale, is that of all there are.")
    if not all(one.comparable for one in shown):
        sentences.append("A hollow marker is a mean that lacks a category.")
    if found.categories:
        sentences.append("Below, each category by itself.")
    return " ".join(sentences)


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
