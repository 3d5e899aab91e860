"""The figures of a study as frames, a row per group, category and metric: what the CSV files of a report hold."""

import pandas as pd

from diffect.reports.cells import METRIC, ends
from diffect.reports.study import RANKED, Study
from diffect.runs.statistics import Estimate

POOLED = "all"  # the category of a mean over all of them


def means(study: Study) -> pd.DataFrame:
    """table.csv: the mean of each group, over all categories and in each, with its 95% interval."""
    return pd.DataFrame(
        {
            **dict(zip(study.axes, group.values, strict=True)),
            "category": category,
            "metric": metric,
            **_parts(metric, estimate),
        }
        for category, estimates in {POOLED: study.estimates, **study.by_category}.items()
        for metric, row in estimates.items()
        for group, estimate in zip(study.groups, row, strict=True)
    )


def differences(study: Study) -> pd.DataFrame:
    """differences.csv: each group less the baseline, with its paired 95% interval; each p is Holm's adjusted one."""
    tests = ("p", "shown", "blocks", "permutation_p", "wilcoxon_p", "g_z", "superiority")
    parts = tuple(_parts(RANKED, Estimate(None)))
    rows: list[tuple[object, ...]] = []
    if (comparison := study.comparison) is not None:
        for metric, row in comparison.differences.items():
            for group, pairs, one in zip(comparison.groups, comparison.pairs, row, strict=True):
                values = _parts(metric, one.estimate, "+").values()
                what = (*group.values, comparison.baseline.label, metric, *values, pairs.count)
                shown = "true" if one.shown else "false"
                sizes = (one.standardised, one.superiority)
                rows.append((*what, one.p, shown, len(one.blocks), one.permutation, one.wilcoxon, *sizes))
    return pd.DataFrame(rows, columns=[*study.axes, "baseline", "metric", *parts, "pairs", *tests])


def ranks(study: Study) -> pd.DataFrame:
    """ranks.csv: each group's average rank by image AUROC, and how often it is first when the seeds are drawn again."""
    ranking, firsts = study.ranking, study.stability
    frame = pd.DataFrame({"group": ranking.groups[: len(ranking.ranks)], "rank": ranking.ranks}).assign(
        blocks=ranking.blocks, chi2=ranking.statistic, p=ranking.p, critical_difference=ranking.critical_difference
    )
    return frame.assign(first=frame["group"].map(dict(zip(firsts.groups, firsts.shares, strict=False))))


def _parts(metric: str, estimate: Estimate, sign: str = "") -> dict[str, object]:
    low, high = ends(METRIC[metric], estimate, sign) or (None, None)
    lists = {"seeds": estimate.seeds, "sources": estimate.sources, "missing": estimate.missing}
    texts = {name: " ".join(map(str, items)) for name, items in lists.items()}
    return {"value": estimate.value, "half": estimate.half, "low": low, "high": high, **texts}
