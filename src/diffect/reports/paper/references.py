"""The works that generated text cites, out of library.bib: as BibTeX, and as a list that needs no BibTeX."""

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

_CITATION = re.compile(r"\\cite\{([^}]*)\}")
_ENTRY = re.compile(r"^@\w+\{([^,]+),\n(.*?)^\}$", re.MULTILINE | re.DOTALL)
_FIELD = re.compile(r"^  (\w+) = \{(.*)\},$", re.MULTILINE)
_NAME = re.compile(r"(?:\{[^{} ]+ [^{}]*\}|[^ ])+")  # {Ver Steeg} is one


@dataclass(frozen=True)
class Work:
    """An entry of library.bib: its key, its text, and its fields, all as LaTeX."""

    key: str
    text: str
    fields: dict[str, str]


@cache
def library() -> dict[str, Work]:
    """All works by key."""
    text = files(__package__).joinpath("library.bib").read_text(encoding="utf-8")
    return {entry[1]: Work(entry[1], entry[0], dict(_FIELD.findall(entry[2]))) for entry in _ENTRY.finditer(text)}


def cited_works(text: str) -> tuple[list[Work], list[str]]:
    """The works that the LaTeX `text` cites, by first author and year, and the keys that the library lacks."""
    keys = {key.strip() for found in _CITATION.findall(text) for key in found.split(",")}
    works = sorted((library()[key] for key in keys & library().keys()), key=_sort_key)
    return works, sorted(keys - library().keys())


def references_bib(works: list[Work]) -> str:
    """references.bib."""
    head = "% Written by diffect report: the works that methods.tex cites."
    return "\n\n".join([head, *(work.text for work in works)]) + "\n"


def bibliography_tex(works: list[Work]) -> str:
    """The works as a thebibliography environment, which needs no BibTeX; empty without any work."""
    if not works:
        return ""
    head = rf"\begin{{thebibliography}}{{{len(works)}}}" + "\n" + r"\small\setlength{\itemsep}{2pt}"
    return "\n".join([head, *map(_item, works), r"\end{thebibliography}"]) + "\n"


def _item(work: Work) -> str:
    have = work.fields
    kinds = ("journal", "booktitle", "howpublished", "publisher")
    where = next(rf"\emph{{{have[kind]}}}" for kind in kinds if kind in have)
    number = f"({have['number']})" if "number" in have else ""
    pages = have.get("pages", "")
    if "volume" in have:
        where += f", {have['volume']}{number}{':' + pages if pages else ''}"
    elif pages:
        where += f", pages {pages}"
    title = have["title"].removeprefix("{").removesuffix("}")
    return rf"\bibitem{{{work.key}}} {_authors(have['author'])}. {title}. {where}, {have['year']}."


def _authors(text: str) -> str:
    """First names as initials: "A. Last, B.-C. Last and D. Last", or the first of more than six."""
    names = []
    for author in text.split(" and "):
        *first, last = _NAME.findall(author)
        initials = ("-".join(f"{part[0]}." for part in name.split("-")) for name in first)
        names.append("~".join([*initials, last]))
    if len(names) > 6:
        return f"{names[0]} et~al"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _sort_key(work: Work) -> tuple[str, str, str]:
    last = _NAME.findall(work.fields["author"].split(" and ")[0])[-1]
    return re.sub(r"[^a-z]", "", last.lower()), work.fields["year"], work.key
