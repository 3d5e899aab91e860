"""numbers.tex: a key for each figure that prose may cite, so that no figure is ever typed by hand."""

import hashlib
import re
from collections.abc import Iterator

from diffect.reports.cells import METRIC, estimate_cell
from diffect.reports.escaping import escape
from diffect.reports.paper.counts import KINDS, image_counts
from diffect.reports.study import RANKED, Study
from diffect.runs.statistics import Estimate

_HEAD = r"""% Written by diffect report: the figures of the study, as the tables show them. Needs no package.
% \diffect{study/metric/group} is a mean, \diffect{study/metric/group/category} that of one category; "metric
% interval" is its 95% interval, as +-0.012 or [0.902, 0.998], "metric difference" is less the baseline, "metric p" its
% adjusted p. A figure that is not defined is a dash; a key that is not here is an error.
\providecommand{\diffectnumber}[2]{\expandafter\gdef\csname diffect@#1\endcsname{#2}}
\makeatletter
\providecommand{\diffect}[1]{\ifcsname diffect@#1\endcsname\csname diffect@#1\endcsname\else
  \@latex@error{There is no figure #1: numbers.tex lists all}\@ehc\fi}
\makeatother
"""
_IMAGES = {
    "training images": KINDS[:3],
    "fit images": KINDS[:1],
    "test images": KINDS[3:5],
    "normal test images": KINDS[3:4],
    "defective test images": KINDS[4:5],
}

Number = tuple[tuple[str, ...], str]  # the parts of its key after the study, and the figure as LaTeX


def numbers_tex(study: Study) -> str:
    """numbers.tex: a key and its figure a line."""
    numbers = [*_counts(study), *_means(study), *_differences(study), *_ranks(study)]
    lines = [rf"\diffectnumber{{{number_key(study.name, *parts)}}}{{{text}}}" for parts, text in numbers]
    return _HEAD + "\n".join(lines) + "\n"


def number_key(*parts: str) -> str:
    """The key of a figure: its parts, with four digits of a hash where one holds what TeX would not take in a name."""
    return "/".join(map(_named, parts))


def _named(part: str) -> str:
    plain = re.sub(r"[^a-zA-Z0-9 _.,+=-]", "-", part)
    return plain if plain == part else f"{plain}-{hashlib.sha256(part.encode()).hexdigest()[:4]}"


def _counts(study: Study) -> Iterator[Number]:
    counts = {
        "runs": len(study.runs),
        "runs left out": len(study.left_out),
        "groups": len(study.groups),
        "seeds": len({run.unit[1] for run in study.runs}),
        "categories": len(study.by_category),
    }
    yield from (((name,), str(count)) for name, count in counts.items())
    images = image_counts(study)
    yield from (((name,), escape(images.total(*kinds))) for name, kinds in _IMAGES.items())
    if study.comparison is not None:
        yield ("baseline",), escape(study.comparison.baseline.label)
        yield ("tests",), str(study.comparison.family)


def _means(study: Study) -> Iterator[Number]:
    for where, estimates in (((), study.estimates), *(((name,), row) for name, row in study.by_category.items())):
        for metric, row in estimates.items():
            for group, estimate in zip(study.groups, row, strict=True):
                yield from _estimate(metric, "", (study.label(group), *where), estimate)


def _estimate(metric: str, what: str, where: tuple[str, ...], estimate: Estimate, sign: str = "") -> Iterator[Number]:
    cell = estimate_cell(METRIC[metric], estimate, sign=sign)
    yield (f"{metric}{what}", *where), _minus(cell.mean) or "--"
    spread = _minus(cell.spread).replace("± ", r"\ensuremath{\pm}")
    yield (f"{metric}{what} interval", *where), spread or "--"


def _differences(study: Study) -> Iterator[Number]:
    if (comparison := study.comparison) is None:
        return
    for metric, row in comparison.differences.items():
        for group, one in zip(comparison.groups, row, strict=True):
            yield from _estimate(metric, " difference", (group.label,), one.estimate, "+")
            size = "--" if one.standardised is None else _minus(f"{one.standardised:+.2f}")
            tests = {"p": one.p, "permutation p": one.permutation, "Wilcoxon p": one.wilcoxon}
            texts = {**{name: p_text(p) for name, p in tests.items()}, "effect size": size}
            yield from (((f"{metric} {name}", group.label), text) for name, text in texts.items())


def _ranks(study: Study) -> Iterator[Number]:
    ranking = study.ranking
    yield from (
        ((f"{RANKED} rank", name), f"{rank:.2f}") for name, rank in zip(ranking.groups, ranking.ranks, strict=False)
    )
    if ranking.reason is None and ranking.critical_difference is not None:
        yield ("Friedman",), f"{ranking.statistic:.2f}"
        yield ("Friedman p",), p_text(ranking.p)
        yield ("critical difference",), f"{ranking.critical_difference:.2f}"


def _minus(number: str) -> str:
    return number.replace("-", r"\ensuremath{-}")


def p_text(value: float | None) -> str:
    """A p as prose has it."""
    if value is None:
        return "--"
    return r"\ensuremath{<}0.001" if value < 0.001 else f"{value:.3f}"
