"""The seeds that a mean over categories uses: only those that have every category, and so not all runs."""

from collections.abc import Sequence

from diffect.reports.notes import count, listed
from diffect.runs import grid
from diffect.runs.grid import Group
from diffect.runs.statistics import Estimate


def runs(group: Group, metric: str, estimate: Estimate) -> str:
    """How many runs the group has, "18/19" where some are missing; and before it those in its mean, where not all."""
    have = f"{len(group.runs)}/{group.planned}" if group.missing else str(len(group.runs))
    used = {
        run.record.signature
        for (category, seed), run in group.by_cell.items()
        if category in estimate.categories and seed in estimate.seeds and grid.figure(run, category, metric) is not None
    }
    return have if len(used) == len(group.runs) else f"{len(used)} of {have}"


def title(groups: Sequence[Group], estimates: Sequence[Estimate]) -> str:
    """The seeds of the runs, and those that the means use where these are fewer."""
    seeds = sorted({seed for group in groups for _, seed in group.by_cell})
    text = f"{count(seeds, 'seed')} ({_list(seeds)})"
    used = {estimate.seeds for estimate in estimates if estimate.value is not None}
    if used <= {tuple(seeds)}:
        return text
    which = _named(next(iter(used))) if len(used) == 1 else "fewer, as noted"
    return f"{text}, of which means over all categories use {which}"


def note(groups: Sequence[Group], estimates: Sequence[Estimate]) -> str:
    """Which seeds the groups' means use, and which runs they leave out for that; nothing where all are used."""
    names: list[str] = []
    using: dict[tuple[int, ...], list[str]] = {}
    for group, estimate in zip(groups, estimates, strict=True):
        if estimate.value is None:
            continue
        using.setdefault(estimate.seeds, []).append(group.label)
        cells = [cell for cell in sorted(group.by_cell) if cell[1] not in estimate.seeds]
        names += [" ".join([*group.values, category, f"seed {seed}"]) for category, seed in cells]
    if not names:
        return ""
    parts = [_named(seeds) + (f" of {listed(labels)}" if len(using) > 1 else "") for seeds, labels in using.items()]
    what = f"{count(names, 'run')} ({listed(names)})"
    return f"a mean uses only seeds that have every category, here {'; '.join(parts)}: not {what}."


def unused(group: Group, metric: str, estimate: Estimate, category: str | None) -> list[str]:
    """Why runs of the group, those of `category` if given, are not in its mean: by seed, the categories it lacks."""
    found, _ = grid.cells(group.runs, metric)
    values = {cell: value for cell, value in found.items() if category in (None, cell[0])}
    lacking: dict[tuple[str, ...], list[int]] = {}
    for seed in sorted({seed for _, seed in values} - set(estimate.seeds)):
        absent = tuple(name for name in estimate.categories if values.get((name, seed)) is None)
        lacking.setdefault(absent, []).append(seed)
    rule = "a mean uses only seeds that have every category"
    texts = [
        f"not used: {_named(seeds)}, without a value on {listed(absent)}; {rule}" for absent, seeds in lacking.items()
    ]
    if any(value is None and seed in estimate.seeds for (_, seed), value in values.items()):
        texts.append("not used: runs without a finite value")
    return texts


def _named(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {_list(seeds)}"


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
