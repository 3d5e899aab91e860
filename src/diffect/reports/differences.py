"""Which groups differ: each group less a baseline, paired by category, seed and test image."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from diffect.reports.cells import short
from diffect.runs import grid
from diffect.runs.grid import Group
from diffect.runs.statistics import Estimate, Unit, fixed_difference, holm, p_value

COMPARED = ("image_auroc", "image_tpr_at_5fpr", "pixel_aupro_30")
LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """A group's figure less the baseline's, and Holm's adjusted p, or None where it is not tested."""

    estimate: Estimate
    p: float | None = None

    @property
    def shown(self) -> bool:
        """Whether the difference is clear of zero, the number of comparisons allowed for."""
        return self.p is not None and self.p <= LEVEL


@dataclass(frozen=True)
class Pairs:
    """The cells (category, seed) that a group's differences are made of, and those that could not be used."""

    used: tuple[Unit, ...]
    left_out: tuple[Unit, ...]

    @property
    def count(self) -> str:
        """How many were used, and of how many."""
        return f"{len(self.used)}/{len(self.used) + len(self.left_out)}" if self.left_out else str(len(self.used))


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


def compare(groups: Sequence[Group], wanted: dict[str, tuple[str, ...]], baseline: Group, named: bool) -> Comparison:
    """The differences of all `groups` from `baseline`, over the categories `wanted[metric]` of each metric.

    A difference is tested if it has every category, and the seeds in its interval where any other has them.
    The p are adjusted (Holm) for all the tests of this table. A baseline that was chosen by its result has
    chosen its comparisons too, so then they are adjusted for those of all pairs of groups.
    """
    others = tuple(group for group in groups if group is not baseline)
    common = [_common(group, baseline) for group in others]
    estimates: dict[str, list[Estimate]] = {}
    for metric in COMPARED:
        values_b, replicates_b = grid.cells(baseline.runs, metric)
        estimates[metric] = []
        for group, cells in zip(others, common, strict=True):
            values, replicates = grid.cells(group.runs, metric)
            paired = {unit: value for unit, value in values.items() if unit in cells}
            estimates[metric].append(fixed_difference(paired, values_b, replicates, replicates_b, wanted[metric]))
    adjusted, family = _adjusted(estimates, named)
    found = {
        metric: tuple(Difference(estimate, adjusted.get((metric, place))) for place, estimate in enumerate(row))
        for metric, row in estimates.items()
    }
    firsts = zip(others, common, estimates[COMPARED[0]], strict=True)
    pairs = tuple(_pairs(group, baseline, cells, estimate) for group, cells, estimate in firsts)
    return Comparison(baseline, named, others, pairs, found, family)


def _common(group: Group, baseline: Group) -> set[Unit]:
    """The cells that both groups have, tested on the same images."""
    mine, other = group.by_cell, baseline.by_cell
    return {cell for cell in mine.keys() & other.keys() if grid.same_images(mine[cell], other[cell], cell[0])}


def _pairs(group: Group, baseline: Group, common: set[Unit], estimate: Estimate) -> Pairs:
    cells = sorted(group.by_cell.keys() | baseline.by_cell.keys())
    used = tuple(cell for cell in cells if cell in common and cell[1] in estimate.seeds)
    return Pairs(used, tuple(cell for cell in cells if cell not in used))


def _adjusted(estimates: dict[str, list[Estimate]], named: bool) -> tuple[dict[tuple[str, int], float], int]:
    """The adjusted p by metric and place of those that are tested, and the size of their family."""
    by_seed = any("seeds" in estimate.sources for row in estimates.values() for estimate in row)
    raw: dict[tuple[str, int], float] = {}
    family = 0
    for metric, row in estimates.items():
        tested = 0
        for place, estimate in enumerate(row):
            p = p_value(estimate)
            if p is not None and estimate.comparable and ("seeds" in estimate.sources or not by_seed):
                raw[metric, place] = p
                tested += 1
        family += tested if named else tested * (tested + 1) // 2
    return dict(zip(raw, holm(list(raw.values()), family), strict=True)), family


def named(groups: Sequence[Group], axes: Sequence[str], text: str) -> Group:
    """The one group that `text` names: by its label, or by choices as KEY=VALUE,...; else ValueError."""
    found = [group for group in groups if group.label == text]
    if not found and "=" in text:
        keys = dict(zip(short(axes), axes, strict=True))
        choices = [part.partition("=") for part in re.split(r",\s*(?=[\w.]+=)", text)]
        found = [
            group
            for group in groups
            if all(run.choice(keys.get(key, key)) == value for run in group.runs for key, _, value in choices)
        ]
    if len(found) != 1:
        what = "no group" if not found else f"{len(found)} groups ({'; '.join(group.label for group in found)})"
        allowed = "; ".join(group.label for group in groups)
        raise ValueError(f"baseline={text} names {what}; name one of: {allowed}")
    return found[0]


def best(groups: Sequence[Group], estimates: Sequence[Estimate]) -> Group | None:
    """The group with the best mean image AUROC, among those that have every category; None without any."""
    known = [
        (e.value, group) for group, e in zip(groups, estimates, strict=True) if e.value is not None and e.comparable
    ]
    return max(known, key=lambda pair: pair[0])[1] if known else None
