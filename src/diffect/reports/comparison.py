"""Which groups differ: each group less a baseline, paired by category, seed and test image."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from diffect.reports.cells import METRIC
from diffect.runs import grid, paired_tests, statistics
from diffect.runs.grid import Group, short
from diffect.runs.statistics import FIXED, RANDOM, Estimate, Unit, p_value

COMPARED = ("image_auroc", "image_tpr_at_5fpr", "pixel_aupro_30")
LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """A group's figure less the baseline's, and how it was tested; every p is Holm's adjusted one.

    `p` is that of the declared test: with fixed categories where the interval just reaches zero, with random ones
    the permutation's. `blocks` are the differences by seed, or by category, and `permutation` and `wilcoxon` their
    tests. A p is None where it is not tested, or where the blocks are too few to give one of at most LEVEL.
    """

    estimate: Estimate
    p: float | None = None
    blocks: tuple[float, ...] = ()
    permutation: float | None = None
    wilcoxon: float | None = None

    @property
    def shown(self) -> bool:
        """Whether the difference is clear of zero, the number of comparisons allowed for."""
        return self.p is not None and self.p <= LEVEL

    @property
    def standardised(self) -> float | None:
        """Its size in standard deviations over the blocks, Hedges-corrected."""
        return paired_tests.standardised(self.blocks)

    @property
    def superiority(self) -> float | None:
        """The share of blocks in which the group has the higher figure."""
        return paired_tests.superiority(self.blocks)


@dataclass(frozen=True)
class Pairs:
    """The pairs (category, seed) that a group's differences are made of, and those that could not be used.

    Of the latter only one of the two groups has some, some were tested on other images, and some are of seeds for
    which not every category has a pair.
    """

    used: tuple[Unit, ...]
    one_sided: tuple[Unit, ...] = ()
    other_images: tuple[Unit, ...] = ()
    partial_seeds: tuple[Unit, ...] = ()

    @property
    def count(self) -> str:
        """How many were used, and of how many."""
        left_out = len(self.one_sided) + len(self.other_images) + len(self.partial_seeds)
        return f"{len(self.used)}/{len(self.used) + left_out}" if left_out else str(len(self.used))


@dataclass(frozen=True)
class Comparison:
    """All groups but the baseline, in table order; `pairs` and each `differences[metric]` follow `groups`.

    `named` says that the baseline was named and not chosen by its result; `family` is the number of
    comparisons that p allows for.
    """

    baseline: Group
    named: bool
    groups: tuple[Group, ...]
    pairs: tuple[Pairs, ...]
    differences: dict[str, tuple[Difference, ...]]
    family: int
    estimand: str = FIXED


def compare(
    groups: Sequence[Group], wanted: dict[str, tuple[str, ...]], baseline: Group, named: bool, estimand: str
) -> Comparison:
    """The differences of all `groups` from `baseline`, over the categories `wanted[metric]` of each metric.

    A difference is tested if it has every category, and the seeds in its interval where any other has them.
    The p are adjusted (Holm) for all the tests of this table. A baseline that was chosen by its result has
    chosen its comparisons too, so then they are adjusted for those of all pairs of groups.
    """
    others = tuple(group for group in groups if group is not baseline)
    differences = [
        paired_difference(group, baseline, metric, wanted[metric], estimand) for metric in COMPARED for group in others
    ]
    tested = _tested(differences)
    sizes = Counter(place // len(others) for place in tested).values()  # by metric
    family = sum(sizes) if named else sum(size * (size + 1) // 2 for size in sizes)
    adjusted = iter(_adjusted(differences, tested, family, estimand))
    table = {metric: tuple(islice(adjusted, len(others))) for metric in COMPARED}
    pairs = tuple(_pairs(group, baseline, one.estimate) for group, one in zip(others, table[COMPARED[0]], strict=True))
    return Comparison(baseline, named, others, pairs, table, family, estimand)


def paired_difference(group: Group, other: Group, metric: str, wanted: Sequence[str], estimand: str) -> Difference:
    """One group less another in one metric, not tested, over the cells that both have, tested on the same images."""
    (mine, drawn), theirs = (grid.cells(one.runs, metric) for one in (group, other))
    common = _common(group, other)
    mine = {cell: value for cell, value in mine.items() if cell in common and cell[0] in wanted}
    values, replicates = statistics.paired((mine, drawn), theirs)
    estimate = statistics.estimate_mean(estimand, values, replicates, wanted)
    blocks = statistics.block_means(estimand, values, wanted) if estimate.comparable else {}
    return Difference(estimate, blocks=tuple(blocks.values()))


def _common(group: Group, baseline: Group) -> set[Unit]:
    """The cells that both groups have, tested on the same images."""
    mine, other = group.by_cell, baseline.by_cell
    return {cell for cell in mine.keys() & other.keys() if grid.same_images(mine[cell], other[cell], cell[0])}


def _pairs(group: Group, baseline: Group, estimate: Estimate) -> Pairs:
    common = _common(group, baseline)
    both = group.by_cell.keys() & baseline.by_cell.keys()
    used = {cell for cell in common if cell[1] in estimate.seeds}
    one_sided = group.by_cell.keys() ^ baseline.by_cell.keys()
    kinds = (used, one_sided, both - common, common - used)
    return Pairs(*(tuple(sorted(cells)) for cells in kinds))


def _tested(differences: Sequence[Difference]) -> list[int]:
    """The places of the differences to test: those that lack nothing that another has in its interval."""
    by_block = [bool({"seeds", "categories"} & set(one.estimate.sources)) for one in differences]
    return [
        place
        for place, one in enumerate(differences)
        if one.estimate.comparable and one.estimate.sources and (by_block[place] or not any(by_block))
    ]


def _adjusted(differences: Sequence[Difference], tested: Sequence[int], family: int, estimand: str) -> list[Difference]:
    """The differences with their adjusted p."""
    enough = [place for place in tested if family * paired_tests.smallest_p(len(differences[place].blocks)) <= LEVEL]

    def holm(places: Sequence[int], test: Callable[[Difference], float]) -> dict[int, float]:
        return dict(zip(places, paired_tests.holm([test(differences[place]) for place in places], family), strict=True))

    permutation = holm(enough, lambda one: float(paired_tests.sign_flip(one.blocks)))
    wilcoxon = holm(enough, lambda one: float(paired_tests.wilcoxon(one.blocks)))
    declared = permutation if estimand == RANDOM else holm(tested, lambda one: p_value(one.estimate) or 1.0)
    return [
        replace(one, p=declared.get(place), permutation=permutation.get(place), wilcoxon=wilcoxon.get(place))
        for place, one in enumerate(differences)
    ]


def tied_with_best(
    groups: Sequence[Group], row: Sequence[Estimate], metric: str, wanted: Sequence[str], estimand: str
) -> tuple[bool, ...]:
    """For each group, whether the interval of its paired difference from the best of `row` includes zero.

    It is the interval of this one pair, not corrected for the number of groups. Only what is comparable can tie.
    """
    better = METRIC[metric].higher_is_better
    rivals = [place for place, estimate in enumerate(row) if estimate.comparable]
    if better is None or len(rivals) < 2:
        return (False,) * len(groups)
    best = max(rivals, key=lambda place: (row[place].value or 0.0) * (1 if better else -1))

    def ties(place: int) -> bool:
        estimate = paired_difference(groups[place], groups[best], metric, wanted, estimand).estimate
        return estimate.comparable and estimate.half is not None and abs(estimate.value or 0.0) <= estimate.half

    return tuple(place in rivals and place != best and ties(place) for place in range(len(groups)))


def group_named(groups: Sequence[Group], axes: Sequence[str], text: str) -> Group:
    """The one group that `text` names: by its label, or by choices as KEY=VALUE,...; else ValueError."""
    spaced = re.sub(r",\s*", ", ", text)
    named = [group for group in groups if spaced in (group.label, ", ".join(group.values))]
    if not named and "=" in text:
        keys = dict(zip(short(axes), axes, strict=True))
        choices = [part.partition("=") for part in re.split(r",\s*(?=[\w.]+=)", text)]
        named = [
            group
            for group in groups
            if all(run.choice(keys.get(key, key)) == value for run in group.runs for key, _, value in choices)
        ]
    if len(named) != 1:
        what = (
            "fits no group" if not named else f"fits {len(named)} groups ({'; '.join(group.label for group in named)})"
        )
        allowed = "; ".join(group.label for group in groups)
        raise ValueError(f"baseline={text} {what}; give one of: {allowed}")
    return named[0]
