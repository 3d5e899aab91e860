"""The parts of a paper: tables, numbers, methods, references, figures, and a document that holds them."""

import re
from importlib.resources import files
from pathlib import Path

from diffect.reports import figures, latex, maps
from diffect.reports.charts import groups_left_out
from diffect.reports.paper.document import paper_tex
from diffect.reports.paper.methods import methods_tex
from diffect.reports.paper.numbers import numbers_tex
from diffect.reports.study import Study
from diffect.storage.atomic import write_atomic

MAPS = "maps.png"


def write_paper(study: Study, out: Path) -> list[str]:
    """Write all parts into `out`: table, numbers, methods, paper (.tex), references.bib, and the pictures.

    Returns why some pictures could not be made, or which groups they lack, a sentence each. Files that authors write
    themselves (prose.tex, discussion.tex, own.bib) are never touched.
    """
    reasons = figures.write_figures(study, out)
    unreadable = maps.write_maps(study, out / MAPS)
    methods = methods_tex(study)
    library = files(__package__).joinpath("library.bib").read_text(encoding="utf-8")
    cited = {key for keys in re.findall(r"\\cite\{([^}]*)\}", methods) for key in keys.split(",")}
    unknown = sorted(cited - set(re.findall(r"^@\w+\{(.*),$", library, re.MULTILINE)))
    pictures = [name for name in (*(f"{stem}.pdf" for stem in figures.FIGURES), MAPS) if (out / name).is_file()]
    texts = {
        "table.tex": latex.latex_tables(study),
        "numbers.tex": numbers_tex(study),
        "methods.tex": methods,
        "references.bib": library,
        "paper.tex": paper_tex(study, pictures, reasons),
    }
    for name, text in texts.items():
        write_atomic(out / name, text)
    lacking = {f"{name}.pdf": text for name, text in groups_left_out(study).items()}
    reasons += [f"{name}: {text}" for name, text in lacking.items() if name in pictures]
    if unknown:
        reasons.append(f"references.bib: there is no entry for {', '.join(unknown)}; write one into own.bib")
    return [*reasons, *unreadable]
