"""numbers.tex: a command for each figure that prose may cite, so that no figure is ever typed by hand."""

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from diffect.reports.cells import METRIC, figure_text
from diffect.reports.comparison import Difference
from diffect.reports.escaping import escape
from diffect.reports.paper.counts import KINDS, image_counts
from diffect.reports.study import RANKED, Estimates, Study
from diffect.runs.grid import Group, short
from diffect.runs.statistics import Estimate

_HEAD = r"""% Written by diffect report: the figures of the study, as the tables show them. Needs no package.
% A name is the study, then metric, group and category, without a group a count; Half is the half-width of the
% 95% interval, Difference is less the baseline, P its adjusted p. A figure that is not defined is a dash.
% In running text end a command by {}: \name{}.
"""

_IMAGES = {
    "TrainingImages": KINDS[:3],
    "FitImages": KINDS[:1],
    "TestImages": KINDS[3:5],
    "TestNormalImages": KINDS[3:4],
    "TestDefectiveImages": KINDS[4:5],
}

_ONES = (
    *("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine", "Ten", "Eleven", "Twelve"),
    *("Thirteen", "Fourteen", "Fifteen", "Sixteen", "Seventeen", "Eighteen", "Nineteen"),
)
_TENS = ("Twenty", "Thirty", "Forty", "Fifty", "Sixty", "Seventy", "Eighty", "Ninety")
_TOKEN = re.compile(r"[a-zA-Z]+|\d+|\.(?=\d)|(?<![a-zA-Z\d])-(?=\.?\d)|[+%<>=]")
_SIGNS = {".": "Point", "-": "Minus", "+": "Plus", "%": "Percent", "<": "Less", ">": "More", "=": "Is"}


@dataclass(frozen=True)
class Figure:
    """A figure as text, the parts of its name after the study, and what it is."""

    key: tuple[str, ...]
    text: str
    what: str


def numbers_tex(study: Study) -> str:
    """numbers.tex: one \\newcommand a line, its meaning as a comment beside it."""
    found = [*_counts(study), *_means(study), *_differences(study), *_ranks(study)]
    lines = [
        rf"\newcommand{{\{name}}}{{{figure.text}}}% {' '.join(figure.what.split())}"
        for name, figure in zip(command_names([(study.name, *figure.key) for figure in found]), found, strict=True)
    ]
    return _HEAD + "\n".join(lines) + "\n"


def _counts(study: Study) -> Iterator[Figure]:
    seeds = {run.unit[1] for run in study.runs}
    yield Figure(("Runs",), str(len(study.runs)), "finished runs in the tables")
    yield Figure(("RunsLeftOut",), str(len(study.left_out)), "runs left out of the tables")
    yield Figure(("Groups",), str(len(study.groups)), "groups of runs")
    yield Figure(("Seeds",), str(len(seeds)), "seeds")
    yield Figure(("Categories",), str(len(study.by_category)), "categories")
    images = image_counts(study)
    for name, kinds in _IMAGES.items():
        yield Figure(
            (name,), escape(images.total(*kinds)), f"images for {' and '.join(kinds)}, all categories together"
        )
    if study.comparison is not None:
        label = study.comparison.baseline.label
        yield Figure(("Baseline",), escape(label), "the group that the others are compared with")
        yield Figure(("Tests",), str(study.comparison.family), "comparisons that every p allows for")


def _means(study: Study) -> Iterator[Figure]:
    yield from _table(study, study.estimates, (), "mean over categories and seeds")
    for category, estimates in study.by_category.items():
        yield from _table(study, estimates, (category,), f"{category}, mean over seeds")


def _table(study: Study, estimates: Estimates, where: tuple[str, ...], over: str) -> Iterator[Figure]:
    for metric, row in estimates.items():
        for group, estimate in zip(study.groups, row, strict=True):
            what = ", ".join(part for part in (METRIC[metric].title, _described(study, group), over) if part)
            yield from _estimate((metric, *group.values, *where), metric, estimate, what)


def _estimate(key: tuple[str, ...], metric: str, estimate: Estimate, what: str, sign: str = "") -> Iterator[Figure]:
    if estimate.missing and estimate.value is not None:
        what += f"; without {', '.join(estimate.missing)}, so not comparable"
    yield Figure(key, _number(metric, estimate.value, sign), what)
    yield Figure((*key, "Half"), _number(metric, estimate.half), "half-width of its 95% interval")


def _differences(study: Study) -> Iterator[Figure]:
    if (found := study.comparison) is None:
        return
    for metric, row in found.differences.items():
        for group, one in zip(found.groups, row, strict=True):
            what = f"{METRIC[metric].title}, {_described(study, group)} less {found.baseline.label}"
            key = (metric, *group.values, "Difference")
            yield from _estimate(key, metric, one.estimate, what, "+")
            yield from _tests((metric, *group.values), one)


def _tests(key: tuple[str, ...], one: Difference) -> Iterator[Figure]:
    yield Figure((*key, "P"), p_text(one.p), "its p, Holm-adjusted")
    yield Figure((*key, "PermutationP"), p_text(one.permutation), "p of its permutation test, Holm-adjusted")
    yield Figure((*key, "WilcoxonP"), p_text(one.wilcoxon), "p of Wilcoxon's test of it, Holm-adjusted")
    yield Figure((*key, "EffectSize"), _signed(one.standardised), "its standardised size g_z")


def _ranks(study: Study) -> Iterator[Figure]:
    found = study.ranking
    for name, rank in zip(found.groups, found.ranks, strict=False):
        yield Figure(("Rank", name), f"{rank:.2f}", f"average rank by {METRIC[RANKED].title}")
    if found.reason is None and found.critical_difference is not None:
        yield Figure(("FriedmanF",), f"{found.statistic:.2f}", "Friedman's statistic, as Iman and Davenport's F")
        yield Figure(("FriedmanP",), p_text(found.p), "its p")
        yield Figure(("CriticalDifference",), f"{found.critical_difference:.2f}", "of average ranks, Nemenyi")


def _described(study: Study, group: Group) -> str:
    return ", ".join(f"{axis}={value}" for axis, value in zip(short(study.axes), group.values, strict=True))


def _number(metric: str, value: float | None, sign: str = "") -> str:
    """The figure as the tables show it, with a true minus."""
    if value is None:
        return "--"
    return (sign if value >= 0 else "") + figure_text(METRIC[metric], value).replace("-", r"\ensuremath{-}")


def _signed(value: float | None) -> str:
    return "--" if value is None else f"{value:+.2f}".replace("-", r"\ensuremath{-}")


def p_text(value: float | None) -> str:
    """A p as prose has it."""
    if value is None:
        return "--"
    return r"\ensuremath{<}0.001" if value < 0.001 else f"{value:.3f}"


def command_names(keys: Sequence[tuple[str, ...]]) -> list[str]:
    """A name for each of the keys, no two alike: their parts as words, the first in small letters.

    What letters cannot say is left out, and keys that would then be named alike get four letters of their hash
    each, so that a name never depends on the order or the number of the others.
    """
    plain = ["".join(map(_words, key)) for key in keys]
    plain = [name[:1].lower() + name[1:] for name in plain]
    often = Counter(plain)
    return [name if often[name] == 1 else name + _letters(key) for name, key in zip(plain, keys, strict=True)]


def _words(text: str) -> str:
    """The letters of `text`, each word with a capital, numbers in words: "lr_0.5" is LrZeroPointFive."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return "".join(_word(token) for token in _TOKEN.findall(plain))


def _word(token: str) -> str:
    if token.isdigit():
        return _spelled(token)
    return _SIGNS.get(token) or token[0].upper() + token[1:]


def _spelled(digits: str) -> str:
    value = int(digits)
    if digits != str(value) or value > 99:
        return "".join(_ONES[int(digit)] for digit in digits)
    if value < 20:
        return _ONES[value]
    return _TENS[value // 10 - 2] + (_ONES[value % 10] if value % 10 else "")


def _letters(key: tuple[str, ...]) -> str:
    digest = hashlib.sha256("\0".join(key).encode()).digest()
    return "".join(chr(ord("A") + byte % 26) for byte in digest[:4])
