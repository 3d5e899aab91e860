"""What the differences and ranks of groups show, and what they do not: one sentence each."""

from collections.abc import Sequence

from diffect.reports.cells import IMAGES, METRIC, PARTIAL, SHOWN, marks, over_seeds
from diffect.reports.comparison import COMPARED, LEVEL, Comparison, Difference
from diffect.reports.wording import first_few, joined, missing_categories
from diffect.runs.coverage import simulated_coverage
from diffect.runs.paired_tests import blocks_needed, smallest_p
from diffect.runs.ranks import Ranking, Stability
from diffect.runs.statistics import BLOCK, BLOCKS, FEWEST_CATEGORIES, RANDOM, Unit

_FEW_FLIPPED = 6  # seeds below which a sign flip cannot reach LEVEL, whatever they show
_FEW_RESAMPLED = 10  # seeds below which resampling them overstates how certain the first place is


def difference_notes(found: Comparison) -> tuple[str, ...]:
    """The notes under a table of differences: the verdict on each metric first, then what it rests on."""
    rows = list(found.differences.values())
    estimates = [[one.estimate for one in row] for row in rows]
    marked = {mark for row in estimates for text in marks(row, over_seeds(estimates)) for mark in text}
    texts = [_verdict(found, metric) for metric in COMPARED]
    texts += [_interval(found), _p(found), _seeds(found), _achieved(found), _left_out(found)]
    if IMAGES in marked:
        texts.append(f"{IMAGES} fewer than two common seeds: over the test images only, and not tested.")
    if PARTIAL in marked:
        lacking = missing_categories(
            [group.label for group in found.groups], dict(zip(found.differences, estimates, strict=True))
        )
        texts.append(f"{PARTIAL} over fewer categories, and not tested: {lacking}." if lacking else "")
    return tuple(text for text in texts if text)


def test_notes(found: Comparison) -> tuple[str, ...]:
    """The notes under a table of tests: what a block is, what the columns are, and where a test is impossible."""
    unit = BLOCKS[found.estimand]
    each, scope = "their categories", "; what they show holds for these test images"
    if found.estimand == RANDOM:
        each, scope = "their seeds", ""
    texts = [
        f"blocks: {unit}, each the mean difference over {each}{scope}.",
        f"p: permutation by sign flips, and Wilcoxon's signed-rank test; two-sided, after Holm's correction for"
        f" {found.family} tests."
        if _tests(found, True)
        else "",
        _too_few(found),
        "g_z: mean over standard deviation of the blocks' differences, Hedges-corrected; superiority: the share of"
        f" blocks in which the group is above {found.baseline.label}, ties half.",
    ]
    return tuple(text for text in texts if text)


def _tests(found: Comparison, possible: bool) -> list[int]:
    """The numbers of blocks of the differences that have a permutation test, or that have not."""
    rows = (one for row in found.differences.values() for one in row if len(one.blocks) > 1)
    return sorted({len(one.blocks) for one in rows if (one.permutation is not None) == possible})


def _too_few(found: Comparison) -> str:
    """Why a column of p is empty."""
    few = _tests(found, False)
    if not few or not found.family:
        return ""
    smallest = min(1.0, found.family * smallest_p(few[-1]))
    return (
        f"too few blocks for a test: {few[-1]} {BLOCKS[found.estimand]} give no p below {smallest_p(few[-1]):.2g}"
        f" ({smallest:.2g} after Holm's correction for {found.family} tests), so none is printed;"
        f" {blocks_needed(found.family, LEVEL)} would be enough."
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


def _interval(found: Comparison) -> str:
    sources = {source for row in found.differences.values() for one in row for source in one.estimate.sources}
    ways = {"seeds": "by seed (Student's t)", "images": "by test image (one bootstrap for both)"}
    if found.estimand == RANDOM:
        if not sources:
            return f"no interval: fewer than {FEWEST_CATEGORIES} common categories say nothing about others."
        return "±: half-width of the 95% interval of the difference over categories (a sample; Student's t), paired."
    if not sources:
        return "no interval: there are fewer than two common seeds, and no bootstrap replicates to pair."
    over = ", ".join(text for source, text in ways.items() if source in sources)
    return f"±: half-width of the 95% interval of the difference, paired by category (fixed), {over}."


def _p(found: Comparison) -> str:
    if not found.family:
        return ""
    what = f"the {found.family} tests of this table"
    if not found.named:
        what = f"the {found.family} tests of all pairs of groups, since {found.baseline.label} was chosen by its result"
    if found.estimand == RANDOM and not _tests(found, True):
        return _too_few(found)
    test = (
        "a permutation of the categories' signs"
        if found.estimand == RANDOM
        else "where that interval just reaches zero"
    )
    return f"p: two-sided, {test}, after Holm's correction for {what}; {SHOWN} p of at most {LEVEL}: shown."


def _seeds(found: Comparison) -> str:
    """What few seeds cannot show."""
    tested = [one.estimate for row in found.differences.values() for one in row if one.p is not None]
    if not tested or found.estimand == RANDOM:
        return ""
    if "seeds" not in tested[0].sources:  # then none has them, or it would not be tested
        return "fewer than two common seeds: the differences are of these runs, and another seed may change them."
    fewest = min(len(estimate.seeds) for estimate in tested)
    if fewest >= _FEW_FLIPPED:
        return ""
    return (
        f"p assumes that the differences of seeds are normal: {fewest} seeds cannot show it, nor could they give"
        f" a p below {smallest_p(fewest):.2g} by their signs alone."
    )


def _achieved(found: Comparison) -> str:
    """What the interval and the test are worth at so few blocks."""
    few = [len(one.blocks) for row in found.differences.values() for one in row if len(one.blocks) > 1]
    known = simulated_coverage(found.estimand, min(few)) if few else None
    return "" if known is None else known.of_differences


def _left_out(found: Comparison) -> str:
    """Which pairs of category and seed are compared, and how many are not, for each reason and group."""
    names: dict[str, list[str]] = {}
    for group, pairs in zip(found.groups, found.pairs, strict=True):
        kinds = {
            "that only one of the two groups has": pairs.one_sided,
            "that were tested on other images": pairs.other_images,
            "of seeds without a pair in every category": pairs.partial_seeds,
        }
        reasons = [f"{len(cells)} {kind} ({_cells(cells)})" for kind, cells in kinds.items() if cells]
        if reasons:
            names.setdefault(", and ".join(reasons), []).append(group.label)
    if not names:
        return ""
    rule = f"pairs: a category and seed that both the group and {found.baseline.label} have, on the same test images"
    return ". ".join([rule, *(f"Left out for {joined(groups)}: {reasons}" for reasons, groups in names.items())]) + "."


def _cells(cells: Sequence[Unit]) -> str:
    """Their seeds by category: "brick seeds 3/4, grass seed 3"."""
    seeds: dict[str, list[str]] = {}
    for category, seed in cells:
        seeds.setdefault(category, []).append(str(seed))
    return first_few([f"{name} seed{'s' * (len(of) > 1)} {'/'.join(of)}" for name, of in seeds.items()])


def ranking_notes(ranking: Ranking, stability: Stability, estimand: str) -> list[str]:
    """A sentence on the average ranks, and one on the first place with other seeds, or why there is none."""
    return [_ranks(ranking, estimand), _first(stability)]


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
    order = sorted(range(len(found.groups)), key=lambda place: -found.shares[place])
    shares = [
        f"{joined([found.groups[place]])} in {found.shares[place]:.0%}"
        for place in order
        if found.shares[place] >= 0.005
    ]
    firm = "; with so few seeds this looks more certain than it is" if found.seeds < _FEW_RESAMPLED else ""
    return (
        f"first by image AUROC when the {found.seeds} seeds are resampled ({found.resamples:,} times, the same for all"
        f" groups): {', '.join(shares)}{firm}."
    )
