"""What the differences and ranks of groups show, and what they do not: one sentence each."""

from collections.abc import Iterator, Sequence

from diffect.reports.cells import IMAGES, METRIC, PARTIAL, SHOWN, marks, over_seeds
from diffect.reports.comparison import COMPARED, LEVEL, Comparison, Difference
from diffect.reports.study import Study
from diffect.reports.wording import first_few, grouped, joined, missing_categories
from diffect.runs.coverage import coverage_of_differences
from diffect.runs.paired_tests import blocks_needed, smallest_p
from diffect.runs.ranks import Ranking, Stability
from diffect.runs.statistics import BLOCK, BLOCKS, FEWEST_CATEGORIES, RANDOM, Unit

_FEW_FLIPPED = 6  # seeds below which a sign flip cannot reach LEVEL, whatever they show
_FEW_RESAMPLED = 10  # seeds below which resampling them overstates how certain the first place is


def difference_notes(comparison: Comparison) -> tuple[str, ...]:
    """The notes under a table of differences: the verdict on each metric first, then what it rests on."""
    verdicts = (_verdict(comparison, metric) for metric in COMPARED)
    checks = (_interval, _p, _seeds, _achieved, _left_out, _marks)
    return (*verdicts, *(sentence for check in checks for sentence in check(comparison)))


def test_notes(comparison: Comparison) -> tuple[str, ...]:
    """The notes under a table of tests: what a block is, what the columns are, and where a test is impossible."""
    each, scope = "their categories", "; what they show holds for these test images"
    if comparison.estimand == RANDOM:
        each, scope = "their seeds", ""
    tests = (
        f"p: permutation by sign flips, and Wilcoxon's signed-rank test; two-sided, after Holm's correction for"
        f" {comparison.family} tests."
    )
    return (
        f"blocks: {BLOCKS[comparison.estimand]}, each the mean difference over {each}{scope}.",
        *([tests] if _tests(comparison, True) else []),
        *_too_few(comparison),
        "g_z: mean over standard deviation of the blocks' differences, Hedges-corrected; superiority: the share of"
        f" blocks in which the group is above {comparison.baseline.label}, ties half.",
    )


def _marks(comparison: Comparison) -> Iterator[str]:
    """What the marks of the table mean."""
    rows = {metric: [one.estimate for one in row] for metric, row in comparison.differences.items()}
    marked = "".join(mark for row in rows.values() for mark in marks(row, over_seeds(rows.values())))
    if IMAGES in marked:
        yield f"{IMAGES} fewer than two common seeds: over the test images only, and not tested."
    if PARTIAL in marked and (lacking := missing_categories([group.label for group in comparison.groups], rows)):
        yield f"{PARTIAL} over fewer categories, and not tested: {lacking}."


def _tests(comparison: Comparison, possible: bool) -> list[int]:
    """The numbers of blocks of the differences that have a permutation test, or that have not."""
    rows = (one for row in comparison.differences.values() for one in row if len(one.blocks) > 1)
    return sorted({len(one.blocks) for one in rows if (one.permutation is not None) == possible})


def _too_few(comparison: Comparison) -> Iterator[str]:
    """Why a column of p is empty."""
    few = _tests(comparison, False)
    if few and comparison.family:
        smallest = smallest_p(few[-1])
        yield (
            f"too few blocks for a test: {few[-1]} {BLOCKS[comparison.estimand]} give no p below {smallest:.2g}"
            f" ({min(1.0, comparison.family * smallest):.2g} after Holm's correction for {comparison.family} tests), so"
            f" none is printed; {blocks_needed(comparison.family, LEVEL)} would be enough."
        )


def _verdict(comparison: Comparison, metric: str) -> str:
    """Which groups are shown to be better or worse than the baseline in one metric, and which are not."""
    kinds: dict[str, list[str]] = {"shown better": [], "shown worse": [], "not shown to differ": [], "not tested": []}
    for group, one in zip(comparison.groups, comparison.differences[metric], strict=True):
        kinds[_kind(one)].append(group.label)
    title, base = METRIC[metric].title, comparison.baseline.label
    if len(kinds["not tested"]) == len(comparison.groups):
        return f"{title}: no difference from {base} can be tested."
    rests = _rests(comparison, metric)
    if not (kinds["shown better"] or kinds["shown worse"]):
        return f"{title}: no group is shown to be better or worse than {base}. {rests}"
    parts = (f"{kind}: {joined(names)}" for kind, names in kinds.items() if names)
    return f"{title}, against {base}: {'; '.join(parts)}. {rests}"


def _rests(comparison: Comparison, metric: str) -> str:
    """What the tests of one metric rest on: so many categories, seeds, or the test images of one seed."""
    tested = [one.estimate for one in comparison.differences[metric] if one.p is not None]
    if comparison.estimand == RANDOM:
        return f"Tested on {_span([len(estimate.categories) for estimate in tested])} categories."
    if over_seeds([tested]):
        return f"Tested on {_span([len(estimate.seeds) for estimate in tested])} seeds."
    seeds = sorted({seed for estimate in tested for seed in estimate.seeds})
    which = f"seed {seeds[0]} alone" if len(seeds) == 1 else "no two whole seeds"
    return f"Tested on {which}: that covers the test images only, and another seed may change it."


def _span(sizes: Sequence[int]) -> str:
    return str(min(sizes)) if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"


def _kind(one: Difference) -> str:
    if one.p is None or one.estimate.value is None:
        return "not tested"
    if not one.shown:
        return "not shown to differ"
    return "shown better" if one.estimate.value > 0 else "shown worse"


def _interval(comparison: Comparison) -> Iterator[str]:
    sources = {source for row in comparison.differences.values() for one in row for source in one.estimate.sources}
    ways = {"seeds": "by seed (Student's t)", "images": "by test image (one bootstrap for both)"}
    over = ", ".join(text for source, text in ways.items() if source in sources)
    if comparison.estimand == RANDOM and sources:
        yield "±: half-width of the 95% interval of the difference over categories (a sample; Student's t), paired."
    elif comparison.estimand == RANDOM:
        yield f"no interval: fewer than {FEWEST_CATEGORIES} common categories say nothing about others."
    elif sources:
        yield f"±: half-width of the 95% interval of the difference, paired by category (fixed), {over}."
    else:
        yield (
            "no interval: there are fewer than two common seeds and no bootstrap replicates to pair, or all "
            "differences are equal."
        )


def _p(comparison: Comparison) -> Iterator[str]:
    """What the declared test is, and for how many tests it is corrected."""
    if not comparison.family:
        return
    if comparison.estimand == RANDOM and not _tests(comparison, True):
        yield from _too_few(comparison)
        return
    what = f"the {comparison.family} tests of"
    if comparison.named:
        what += " this table"
    else:
        what += f" all pairs of groups, since {comparison.baseline.label} was chosen by its result"
    test = "where that interval just reaches zero"
    if comparison.estimand == RANDOM:
        test = "a permutation of the categories' signs"
    yield f"p: two-sided, {test}, after Holm's correction for {what}; {SHOWN} p of at most {LEVEL}: shown."


def _seeds(comparison: Comparison) -> Iterator[str]:
    """What few seeds cannot show."""
    tested = [one.estimate for row in comparison.differences.values() for one in row if one.p is not None]
    if not tested or comparison.estimand == RANDOM:
        return
    if "seeds" not in tested[0].sources:  # then none has them, or it would not be tested
        yield "fewer than two common seeds: the differences are of these runs, and another seed may change them."
    elif (fewest := min(len(estimate.seeds) for estimate in tested)) < _FEW_FLIPPED:
        yield (
            f"p assumes that the differences of seeds are normal: {fewest} seeds cannot show it, nor could they give"
            f" a p below {smallest_p(fewest):.2g} by their signs alone."
        )


def _achieved(comparison: Comparison) -> list[str]:
    """What the interval and the test are worth at so few blocks."""
    few = [len(one.blocks) for row in comparison.differences.values() for one in row if len(one.blocks) > 1]
    return coverage_of_differences(comparison.estimand, min(few)) if few else []


def _left_out(comparison: Comparison) -> Iterator[str]:
    """Which pairs of category and seed are compared, and how many are not, for each reason and group."""
    labels = []
    for group, pairs in zip(comparison.groups, comparison.pairs, strict=True):
        kinds = {
            "that only one of the two groups has": pairs.one_sided,
            "that were tested on other images": pairs.other_images,
            "of seeds without a pair in every category": pairs.partial_seeds,
        }
        if reasons := [f"{len(cells)} {kind} ({_cells(cells)})" for kind, cells in kinds.items() if cells]:
            labels.append((", and ".join(reasons), group.label))
    if labels:
        both = f"the group and {comparison.baseline.label}"
        rule = f"pairs: a category and seed that both {both} have, on the same test images"
        parts = [f"Left out for {joined(groups)}: {reasons}" for reasons, groups in grouped(labels).items()]
        yield ". ".join([rule, *parts]) + "."


def _cells(cells: Sequence[Unit]) -> str:
    """Their seeds by category: "brick seeds 3/4, grass seed 3"."""
    seeds = grouped((category, str(seed)) for category, seed in cells)
    return first_few([f"{name} seed{'s' * (len(of) > 1)} {'/'.join(of)}" for name, of in seeds.items()])


def ranking_notes(study: Study) -> list[str]:
    """A sentence on the average ranks, and one on the first place with other seeds, or why there is none."""
    return [_ranks(study.ranking, study.estimand), _first(study.stability)] if len(study.groups) > 1 else []


def _ranks(ranking: Ranking, estimand: str) -> str:
    if ranking.reason is not None or ranking.p is None or ranking.critical_difference is None:
        return f"no critical difference of ranks: {ranking.reason}."
    scope = "" if estimand == RANDOM else ", on these test images"
    text = (
        f"ranks by image AUROC within each {BLOCK[estimand]}, averaged over {ranking.blocks} {BLOCKS[estimand]}{scope}:"
        f" Friedman's chi2 = {ranking.statistic:.2f}, p {_p_text(ranking.p)} (Iman and Davenport)"
    )
    if ranking.p > LEVEL:
        return f"{text}: the groups are not shown to differ."
    cliques = "; ".join(joined([ranking.groups[place] for place in clique]) for clique in ranking.cliques)
    apart = f"no difference shown within: {cliques}" if cliques else "any two differ"
    return f"{text}; critical difference {ranking.critical_difference:.2f} (Nemenyi, {LEVEL}), {apart}."


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _first(stability: Stability) -> str:
    if stability.reason is not None:
        return f"it cannot be said whether other seeds would change the first place: {stability.reason}."
    ordered = sorted(zip(stability.groups, stability.shares, strict=True), key=lambda pair: -pair[1])
    shares = [f"{joined([name])} in {share:.0%}" for name, share in ordered if share >= 0.005]
    firm = "; with so few seeds this looks more certain than it is" if stability.seeds < _FEW_RESAMPLED else ""
    return (
        f"first by image AUROC when the {stability.seeds} seeds are resampled ({stability.resamples:,} times, the same"
        f" for all groups): {', '.join(shares)}{firm}."
    )
