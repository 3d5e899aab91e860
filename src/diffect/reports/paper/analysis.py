"""How the figures were averaged, bounded and compared, as sentences for the methods."""

from diffect.config.description import counted
from diffect.reports.cells import METRIC, spread_text
from diffect.reports.escaping import breakable, escape
from diffect.reports.paper.numbers import p_text
from diffect.reports.study import RANKED, Study
from diffect.reports.wording import listed
from diffect.runs.statistics import BLOCKS, RANDOM

_CITED = {
    "pixel_aupro_30": r"~\cite{bergmann2020uninformed}",
    "conformal_fpr": r"~\cite{vovk2005,angelopoulos2023conformal}",
}


def analysis(study: Study) -> list[str]:
    """Metrics, intervals, comparisons, ranks: those that the study has."""
    return [_metrics(study), _means(study), *_comparisons(study), *_ranks(study)]


def _metrics(study: Study) -> str:
    known = [metric for metric, row in study.estimates.items() if any(one.value is not None for one in row)]
    texts = [escape(METRIC[metric].title) + _CITED.get(metric, "") for metric in known if metric != "latency_ms"]
    latency = "; latency is that of one image, from decoded image to map" if "latency_ms" in known else ""
    return f"Reported are {listed(texts)}, exact and on raw scores{latency}."


def _means(study: Study) -> str:
    sources = {source for row in study.estimates.values() for one in row for source in one.sources}
    if study.estimand == RANDOM:
        what = "Seeds are averaged first, then the categories, which are taken as a sample of their kind"
        return f"{what}; the 95\\% intervals are Student's $t$ over the categories."
    replicates = {
        int(count) for run in study.runs if (count := run.record.config.get("evaluation", {}).get("replicates"))
    }
    drawn = f", {listed([str(count) for count in sorted(replicates)])} resamples" if replicates else ""
    ways = {
        "seeds": "seeds (Student's $t$)",
        "images": rf"test images (bootstrap~\cite{{efron1993bootstrap}}{drawn}, the same for all runs)",
    }
    over = [text for source, text in ways.items() if source in sources]
    interval = f"the 95\\% intervals are over {listed(over)}" if over else "there are no intervals"
    spreads = (spread_text(METRIC[metric], one) for metric, row in study.estimates.items() for one in row)
    if any(spread.startswith("[") for spread in spreads):
        interval += ", on the logit scale where they would leave the range of the figure"
    return f"Means are over categories, which are taken as fixed, and over seeds; {interval}."


def _comparisons(study: Study) -> list[str]:
    comparison = study.comparison
    if comparison is None:
        return []
    chosen = "named beforehand" if comparison.named else f"which has the best mean {METRIC[RANKED].title}"
    first = (
        rf"Groups are compared with \emph{{{breakable(comparison.baseline.label)}}}, {chosen}, by differences paired by"
        " category, seed and test image."
    )
    if not comparison.family:
        return [first, "No difference can be tested."]
    test = "where the 95\\% interval of a difference would just reach zero"
    if comparison.estimand == RANDOM:
        test = "by a permutation of the categories' signs"
    return [
        first,
        rf"Two-sided $p$ are found {test}, and adjusted~\cite{{holm1979}} for {counted(comparison.family, 'test')}.",
    ]


def _ranks(study: Study) -> list[str]:
    ranking = study.ranking
    if ranking.reason is not None or ranking.critical_difference is None or ranking.statistic is None:
        return []
    unit = BLOCKS[study.estimand]
    return [
        rf"Average ranks over {ranking.blocks} {unit} are compared by Friedman's test in the form of Iman and"
        rf" Davenport~\cite{{iman1980,demsar2006}} ($F$ = {ranking.statistic:.2f}, $p$ = {p_text(ranking.p)}) and"
        f" Nemenyi's critical difference ({ranking.critical_difference:.2f})."
    ]
