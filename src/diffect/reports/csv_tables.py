"""The figures of a report as CSV, every digit: one row per group, category and metric."""

import csv
import io
from collections.abc import Iterable, Sequence

from diffect.reports.study import Study
from diffect.runs.statistics import Estimate

POOLED = "all"  # the category of a mean over all of them
_TESTS = ("blocks", "permutation_p", "wilcoxon_p", "g_z", "superiority")
_PARTS = ("value", "half", "seeds", "sources", "missing")


def means_csv(study: Study) -> str:
    """table.csv: the mean of each group, over all categories and in each, with its 95% half-width."""
    rows = [
        (*group.values, category, metric, *_parts(estimate))
        for category, estimates in {POOLED: study.estimates, **study.by_category}.items()
        for metric, row in estimates.items()
        for group, estimate in zip(study.groups, row, strict=True)
    ]
    return _text((*study.axes, "category", "metric", *_PARTS), rows)


def differences_csv(study: Study) -> str:
    """differences.csv: each group less the baseline, with its paired 95% half-width; each p is Holm's adjusted one."""
    rows: list[tuple[object, ...]] = []
    if (found := study.comparison) is not None:
        for metric, row in found.differences.items():
            for group, pairs, one in zip(found.groups, found.pairs, row, strict=True):
                what = (*group.values, found.baseline.label, metric)
                tests = (len(one.blocks), one.permutation, one.wilcoxon, one.standardised, one.superiority)
                rows.append((*what, *_parts(one.estimate), pairs.count, one.p, one.shown, *tests))
    return _text((*study.axes, "baseline", "metric", *_PARTS, "pairs", "p", "shown", *_TESTS), rows)


def ranks_csv(study: Study) -> str:
    """ranks.csv: each group's average rank by image AUROC, and how often it is first when the seeds are drawn again."""
    found, firsts = study.ranking, study.stability
    shares = dict(zip(firsts.groups, firsts.shares or (None,) * len(firsts.groups), strict=True))
    test = (found.blocks, found.statistic, found.p, found.critical_difference)
    rows = [(name, rank, *test, shares.get(name)) for name, rank in zip(found.groups, found.ranks, strict=True)]
    return _text(("group", "rank", "blocks", "chi2", "p", "critical_difference", "first"), rows)


def _parts(estimate: Estimate) -> tuple[object, ...]:
    """An estimate's _PARTS."""
    lists = (" ".join(map(str, items)) for items in (estimate.seeds, estimate.sources, estimate.missing))
    return estimate.value, estimate.half, *lists


def _text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([_plain(item) for item in row] for row in rows)
    return buffer.getvalue()


def _plain(item: object) -> str:
    if isinstance(item, bool):
        return "true" if item else "false"
    return "" if item is None else repr(item) if isinstance(item, float) else str(item)
