"""The parts of a paper: tables, numbers, methods, references, figures, and a document that holds them."""

import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from diffect.reports import latex, maps
from diffect.reports.charts.base import Chart
from diffect.reports.charts.render import write_figures
from diffect.reports.paper.document import MAPS, paper_tex
from diffect.reports.paper.methods import methods_tex
from diffect.reports.paper.numbers import numbers_tex
from diffect.reports.study import Study
from diffect.storage.atomic import write_atomic


def write_paper(study: Study, charts: Sequence[Chart], reasons: Sequence[str], out: Path) -> list[str]:
    """Write all parts into `out`: table, numbers, methods, paper (.tex), references.bib, and the pictures.

    `reasons` say why there are no other charts. Returns what pictures lack, and works that the bibliography lacks, a
    sentence each. Files that authors write themselves (prose.tex, discussion.tex, own.bib) are never touched.
    """
    drawn = write_figures(study, charts, out)
    unreadable = maps.write_maps(study, out / MAPS)
    methods = methods_tex(study)
    library = files(__package__).joinpath("library.bib").read_text(encoding="utf-8")
    cited = {key for keys in re.findall(r"\\cite\{([^}]*)\}", methods) for key in keys.split(",")}
    unknown = sorted(cited - set(re.findall(r"^@\w+\{(.*),$", library, re.MULTILINE)))
    texts = {
        "table.tex": latex.latex_tables(study),
        "numbers.tex": numbers_tex(study),
        "methods.tex": methods,
        "references.bib": library,
        "paper.tex": paper_tex(study, drawn, (out / MAPS).is_file(), reasons),
    }
    for name, text in texts.items():
        write_atomic(out / name, text)
    problems = [f"{chart.name}.pdf: {chart.lacking.rstrip('.')}" for chart in drawn if chart.lacking]
    if unknown:
        problems.append(f"references.bib: there is no entry for {', '.join(unknown)}; write one into own.bib")
    return [*problems, *unreadable]
