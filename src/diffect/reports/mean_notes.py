"""What the means and intervals of a table are made from, and how far they can be trusted: one sentence each."""

from collections.abc import Iterable, Mapping, Sequence

from scipy.special import stdtrit

from diffect.reports.cells import IMAGES, METRIC, marks, over_seeds
from diffect.reports.wording import counted, first_few
from diffect.runs import grid
from diffect.runs.coverage import simulated_coverage
from diffect.runs.grid import Group
from diffect.runs.statistics import FEWEST_CATEGORIES, FIXED, RANDOM, Estimate
from diffect.runs.table import Run

Table = Mapping[str, Sequence[Estimate]]  # by metric, an estimate per group
Rows = Sequence[tuple[str, Sequence[Estimate]]]  # all rows of one printed table, each with its metric


def interval_notes(runs: Sequence[Run], pooled: Table) -> list[str]:
    """The notes on the intervals of the means over all categories."""
    rows = list(pooled.items())
    return [line for line in (*_interval(rows), _images_only(rows), _joint(runs, pooled), _too_sure(rows)) if line]


def category_interval_notes(tables: Mapping[str, Table]) -> list[str]:
    """The notes on the intervals of the means in each category, which are of one table."""
    rows = [row for table in tables.values() for row in table.items()]
    return [line for line in (*_interval(rows), _images_only(rows), _too_sure(rows)) if line]


def plus_minus(estimates: Iterable[Estimate]) -> str:
    """What ± is in a table of these estimates, as the end of its caption."""
    ways = {"seeds": "seeds", "images": "test images", "categories": "categories"}
    sources = {source for estimate in estimates for source in estimate.sources}
    over = " and ".join(text for source, text in ways.items() if source in sources)
    return f", ± the half-width of a 95% interval over {over}" if over else ", without intervals"


def _interval(rows: Rows) -> list[str]:
    estimates = [estimate for _, row in rows for estimate in row]
    sources = {source for estimate in estimates for source in estimate.sources}
    ways = {"seeds": "seeds (Student's t)", "images": "test images (bootstrap)"}
    if "categories" in sources:
        return _over_categories(rows)
    if not sources:
        return ["no interval: there is one seed, and the records hold no bootstrap replicates."]
    over = " and ".join(text for source, text in ways.items() if source in sources)
    found = [f"±: half-width of a 95% interval over {over}; the categories are taken as fixed."]
    if "seeds" not in sources:
        found.append("one seed: the intervals do not cover what another seed would change.")
        return found
    fewest = min(len(estimate.seeds) for estimate in estimates if "seeds" in estimate.sources)
    if fewest <= 3:
        t = float(stdtrit(fewest - 1, 0.975))
        found.append(f"{fewest} seeds say little: Student's factor is {t:.1f}, hence the wide intervals.")
    if "images" in sources:
        found += [*_achieved(FIXED, fewest), _seeds_only(rows)]
    return found


def _over_categories(rows: Rows) -> list[str]:
    sized = [len(estimate.categories) for _, row in rows for estimate in row if "categories" in estimate.sources]
    over = "±: half-width of a 95% interval over the categories, taken as a sample of their kind (Student's t)."
    found = [over, *_achieved(RANDOM, min(sized))]
    for metric, row in rows:
        if any(estimate.value is not None and not estimate.sources for estimate in row):
            found.append(f"{METRIC[metric].title}: no interval, fewer than {FEWEST_CATEGORIES} categories have it.")
    return found


def _seeds_only(rows: Rows) -> str:
    """Which metrics no bootstrap was made of, where it was of others."""
    drawn = {metric for metric, row in rows for estimate in row if "images" in estimate.sources}
    seeds = {metric: METRIC[metric].title for metric, row in rows if over_seeds([row]) and metric not in drawn}
    return f"no bootstrap of {', '.join(seeds.values())}: its ± is over seeds only." if seeds else ""


def _achieved(estimand: str, blocks: int) -> list[str]:
    """How often such intervals held the truth, where there are too few blocks to promise 95%."""
    known = simulated_coverage(estimand, blocks)
    return [] if known is None else [known.of_means]


def _images_only(rows: Rows) -> str:
    several = over_seeds(row for _, row in rows)
    if not any(IMAGES in mark for _, row in rows for mark in marks(row, several)):
        return ""
    return f"{IMAGES} fewer than two whole seeds: this interval covers the test images only, so it looks narrower."


def _joint(runs: Sequence[Run], table: Table) -> str:
    random = any("categories" in estimate.sources for row in table.values() for estimate in row)
    if not random or all(len(run.unit[0]) == 1 for run in runs):
        return ""
    return "runs of several categories: what a seed does to all of them alike is not in the interval."


def _too_sure(rows: Rows) -> str:
    """No false alarm in 16 images does not prove that there never is one, but no resample holds any."""
    if not any(estimate.image_error == 0 for _, row in rows for estimate in row):
        return ""
    return "± of a figure that no resample of the test images changes, such as 0 or 1, is too small."


def runs_used(group: Group, metric: str, estimate: Estimate) -> str:
    """How many runs the group has, "18/19" where some are missing; and before it those in its mean, where not all."""
    have = f"{len(group.runs)}/{group.planned}" if group.missing else str(len(group.runs))
    used = {
        run.record.signature
        for (category, seed), run in group.by_cell.items()
        if category in estimate.categories and seed in estimate.seeds and grid.figure(run, category, metric) is not None
    }
    return have if len(used) == len(group.runs) else f"{len(used)} of {have}"


def seeds_title(groups: Sequence[Group], estimates: Sequence[Estimate]) -> str:
    """The seeds of the runs, and those that the means use where these are fewer."""
    seeds = sorted({seed for group in groups for _, seed in group.by_cell})
    text = f"{counted(len(seeds), 'seed')} ({_list(seeds)})"
    used = {estimate.seeds for estimate in estimates if estimate.value is not None}
    if used <= {tuple(seeds)}:
        return text
    which = _named(next(iter(used))) if len(used) == 1 else "fewer, as noted"
    return f"{text}, of which means over all categories use {which}"


def seeds_note(groups: Sequence[Group], estimates: Sequence[Estimate]) -> str:
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
    parts = [_named(seeds) + (f" of {first_few(labels)}" if len(using) > 1 else "") for seeds, labels in using.items()]
    what = f"{counted(len(names), 'run')} ({first_few(names)})"
    return f"a mean uses only seeds that have every category, here {'; '.join(parts)}: not {what}."


def unused_runs(group: Group, metric: str, estimate: Estimate, category: str | None) -> list[str]:
    """Why runs of the group, those of `category` if given, are not in its mean: by seed, the categories it lacks."""
    found, _ = grid.cells(group.runs, metric)
    values = {cell: value for cell, value in found.items() if category in (None, cell[0])}
    lacking: dict[tuple[str, ...], list[int]] = {}
    for seed in sorted({seed for _, seed in values} - set(estimate.seeds)):
        absent = tuple(name for name in estimate.categories if values.get((name, seed)) is None)
        lacking.setdefault(absent, []).append(seed)
    rule = "a mean uses only seeds that have every category"
    texts = [
        f"not used: {_named(seeds)}, without a value on {first_few(absent)}; {rule}"
        for absent, seeds in lacking.items()
    ]
    if any(value is None and seed in estimate.seeds for (_, seed), value in values.items()):
        texts.append("not used: runs without a finite value")
    return texts


def _named(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {_list(seeds)}"


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
