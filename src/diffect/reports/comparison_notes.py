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


def difference_notes(found: Comparison) -> tuple[str, ...]:
    """The notes under a table of differences: the verdict on each metric first, then what it rests on."""
    verdicts = (_verdict(found, metric) for metric in COMPARED)
    checks = (_interval, _p, _seeds, _achieved, _left_out, _marks)
    return (*verdicts, *(sentence for check in checks for sentence in check(found)))


def test_notes(found: Comparison) -> tuple[str, ...]:
    """The notes under a table of tests: what a block is, what the columns are, and where a test is impossible."""
    each, scope = "their categories", "; what they show holds for these test images"
    if found.estimand == RANDOM:
        each, scope = "their seeds", ""
    tests = (
        f"p: permutation by sign flips, and Wilcoxon's signed-rank test; two-sided, after Holm's correction for"
        f" {found.family} tests."
    )
    return (
        f"blocks: {BLOCKS[found.estimand]}, each the mean difference over {each}{scope}.",
        *([tests] if _tests(found, True) else []),
        *_too_few(found),
        "g_z: mean over standard deviation of the blocks' differences, Hedges-corrected; superiority: the share of"
        f" blocks in which the group is above {found.baseline.label}, ties half.",
    )


def _marks(found: Comparison) -> Iterator[str]:
    """What the marks of the table mean."""
    rows = {metric: [one.estimate for one in row] for metric, row in found.differences.items()}
    marked = "".join(mark for row in rows.values() for mark in marks(row, over_seeds(rows.values())))
    if IMAGES in marked:
        yield f"{IMAGES} fewer than two common seeds: over the test images only, and not tested."
    if PARTIAL in marked and (lacking := missing_categories([group.label for group in found.groups], rows)):
        yield f"{PARTIAL} over fewer categories, and not tested: {lacking}."


def _tests(found: Comparison, possible: bool) -> list[int]:
    """The numbers of blocks of the differences that have a permutation test, or that have not."""
    rows = (one for row in found.differences.values() for one in row if len(one.blocks) > 1)
    return sorted({len(one.blocks) for one in rows if (one.permutation is not None) == possible})


def _too_few(found: Comparison) -> Iterator[str]:
    """Why a column of p is empty."""
    few = _tests(found, False)
    if few and found.family:
        smallest = smallest_p(few[-1])
        yield (
            f"too few blocks for a test: {few[-1]} {BLOCKS[found.estimand]} give no p below {smallest:.2g}"
            f" ({min(1.0, found.family * smallest):.2g} after Holm's correction for {found.family} tests), so none is"
            f" printed; {blocks_needed(found.family, LEVEL)} would be enough."
        )


def _verdict(found: Comparison, metric: str) -> str:
    """Which groups are shown to be better or worse than the baseline in one metric, and which are not."""
    kinds: dict[str, list[str]] = {"shown better": [], "shown worse": [], "not shown to differ": [], "not tested": []}
    for group, one in zip(found.groups, found.differences[metric], strict=True):
        kinds[_kind(one)].append(group.label)
    title, base = METRIC[metric].title, found.baseline.label
    if len(kinds["not tested"]) == len(found.groups):
        return f"{title}: no difference from {base} can be tested."
    rests = _rests(found, metric)
    if not (kinds["shown better"] or kinds["shown worse"]):
        return f"{title}: no group is shown to be better or worse than {base}. {rests}"
    parts = (f"{kind}: {joined(names)}" for kind, names in kinds.items() if names)
    return f"{title}, against {base}: {'; '.join(parts)}. {rests}"


def _rests(found: Comparison, metric: str) -> str:
    """What the tests of one metric rest on: so many categories, seeds, or the test images of one seed."""
    tested = [one.estimate for one in found.differences[metric] if one.p is not None]
    if found.estimand == RANDOM:
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


def _interval(found: Comparison) -> Iterator[str]:
    sources = {source for row in found.differences.values() for one in row for source in one.estimate.sources}
    ways = {"seeds": "by seed (Student's t)", "images": "by test image (one bootstrap for both)"}
    over = ", ".join(text for source, text in ways.items() if source in sources)
    if found.estimand == RANDOM and sources:
        yield "±: half-width of the 95% interval of the difference over categories (a sample; Student's t), paired."
    elif found.estimand == RANDOM:
        yield f"no interval: fewer than {FEWEST_CATEGORIES} common categories say nothing about others."
    elif sources:
        yield f"±: half-width of the 95% interval of the difference, paired by category (fixed), {over}."
    else:
        yield "no interval: there are fewer than two common seeds, and no bootstrap replicates to pair."


def _p(found: Comparison) -> Iterator[str]:
    """What the declared test is, and for how many tests it is corrected."""
    if not found.family:
        return
    if found.estimand == RANDOM and not _tests(found, True):
        yield from _too_few(found)
        return
    what = f"the {found.family} tests of this table"
    if not found.named:
        what = f"the {found.family} tests of all pairs of groups, since {found.baseline.label} was chosen by its result"
    test = "where that interval just reaches zero"
    if found.estimand == RANDOM:
        test = "a permutation of the categories' signs"
    yield f"p: two-sided, {test}, after Holm's correction for {what}; {SHOWN} p of at most {LEVEL}: shown."


def _seeds(found: Comparison) -> Iterator[str]:
    """What few seeds cannot show."""
    tested = [one.estimate for row in found.differences.values() for one in row if one.p is not None]
    if not tested or found.estimand == RANDOM:
        return
    if "seeds" not in tested[0].sources:  # then none has them, or it would not be tested
        yield "fewer than two common seeds: the differences are of these runs, and another seed may change them."
    elif (fewest := min(len(estimate.seeds) for estimate in tested)) < _FEW_FLIPPED:
        yield (
            f"p assumes that the differences of seeds are normal: {fewest} seeds cannot show it, nor could they give"
            f" a p below {smallest_p(fewest):.2g} by their signs alone."
        )


def _achieved(found: Comparison) -> list[str]:
    """What the interval and the test are worth at so few blocks."""
    few = [len(one.blocks) for row in found.differences.values() for one in row if len(one.blocks) > 1]
    return coverage_of_differences(found.estimand, min(few)) if few else []


def _left_out(found: Comparison) -> Iterator[str]:
    """Which pairs of category and seed are compared, and how many are not, for each reason and group."""
    labels = []
    for group, pairs in zip(found.groups, found.pairs, strict=True):
        kinds = {
            "that only one of the two groups has": pairs.one_sided,
            "that were tested on other images": pairs.other_images,
            "of seeds without a pair in every category": pairs.partial_seeds,
        }
        if reasons := [f"{len(cells)} {kind} ({_cells(cells)})" for kind, cells in kinds.items() if cells]:
            labels.append((", and ".join(reasons), group.label))
    if labels:
        rule = (
            f"pairs: a category and seed that both the group and {found.baseline.label} have, on the same test images"
        )
        parts = [f"Left out for {joined(groups)}: {reasons}" for reasons, groups in grouped(labels).items()]
        yield ". ".join([rule, *parts]) + "."


def _cells(cells: Sequence[Unit]) -> str:
    """Their seeds by category: "brick seeds 3/4, grass seed 3"."""
    seeds = grouped((category, str(seed)) for category, seed in cells)
    return first_few([f"{name} seed{'s' * (len(of) > 1)} {'/'.join(of)}" for name, of in seeds.items()])


def ranking_notes(study: Study) -> list[str]:
    """A sentence on the average ranks, and one on the first place with other seeds, or why there is none."""
    return [_ranks(study.ranking, study.estimand), _first(study.stability)] if len(study.groups) > 1 else []


def _ranks(found: Ranking, estimand: str) -> str:
    if found.reason is not None or found.p is None or found.critical_difference is None:
        return f"no critical difference of ranks: {found.reason}."
    scope = "" if estimand == RANDOM else ", on these test images"
    text = (
        f"ranks by image AUROC within each {BLOCK[estimand]}, averaged over {found.blocks} {BLOCKS[estimand]}{scope}:"
        f" Friedman's chi2 = {found.statistic:.2f}, p {_p_text(found.p)} (Iman and Davenport)"
    )
    if found.p > LEVEL:
        return f"{text}: the groups are not shown to differ."
    cliques = "; ".join(joined([found.groups[place] for place in clique]) for clique in found.cliques)
    apart = f"no difference shown within: {cliques}" if cliques else "any two differ"
    return f"{text}; critical difference {found.critical_difference:.2f} (Nemenyi, {LEVEL}), {apart}."


def _p_text(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _first(found: Stability) -> str:
    if found.reason is not None:
        return f"it cannot be said whether other seeds would change the first place: {found.reason}."
    ordered = sorted(zip(found.groups, found.shares, strict=True), key=lambda pair: -pair[1])
    shares = [f"{joined([name])} in {share:.0%}" for name, share in ordered if share >= 0.005]
    firm = "; with so few seeds this looks more certain than it is" if found.seeds < _FEW_RESAMPLED else ""
    return (
        f"first by image AUROC when the {found.seeds} seeds are resampled ({found.resamples:,} times, the same for all"
        f" groups): {', '.join(shares)}{firm}."
    )
