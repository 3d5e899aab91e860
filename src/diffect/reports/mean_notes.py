"""What the means and intervals of a table are made from, and how far they can be trusted: one sentence each."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from scipy.special import stdtrit

from diffect.config.description import counted
from diffect.reports.cells import IMAGES, METRIC, marks, over_seeds, spread_text
from diffect.reports.study import RANKED, Study
from diffect.reports.wording import cell_name, first_few, grouped
from diffect.runs import grid
from diffect.runs.coverage import coverage_of_means
from diffect.runs.grid import Group
from diffect.runs.statistics import FEWEST_CATEGORIES, FIXED, RANDOM, Estimate

Table = Mapping[str, Sequence[Estimate]]  # by metric, an estimate per group
Rows = Sequence[tuple[str, Sequence[Estimate]]]  # all rows of one printed table, each with its metric
_RULE = "a mean uses only seeds that have every category"


def interval_notes(study: Study) -> Iterator[str]:
    """The notes on the intervals of the means over all categories."""
    rows = list(study.estimates.items())
    yield from (*_interval(rows), *_skewed(rows), *_images_only(rows))
    if "categories" in _sources(rows) and any(len(run.unit[0]) > 1 for run in study.runs):
        yield "runs of several categories: what a seed does to all of them alike is not in the interval."
    yield from _too_sure(rows)


def category_interval_notes(tables: Mapping[str, Table]) -> Iterator[str]:
    """The notes on the intervals of the means in each category, which are of one table."""
    rows = [row for table in tables.values() for row in table.items()]
    yield from (*_interval(rows), *_skewed(rows), *_images_only(rows), *_too_sure(rows))


def plus_minus(estimates: Iterable[Estimate]) -> str:
    """What ± is in a table of these estimates, as the end of its caption."""
    ways = {"seeds": "seeds", "images": "test images", "categories": "categories"}
    sources = {source for estimate in estimates for source in estimate.sources}
    over = " and ".join(text for source, text in ways.items() if source in sources)
    return f", ± the half-width of a 95% interval over {over}" if over else ", without intervals"


def _sources(rows: Rows) -> set[str]:
    return {source for _, row in rows for estimate in row for source in estimate.sources}


def no_interval(estimates: Iterable[Estimate]) -> str:
    """Why estimates over test images and seeds have no interval."""
    if any(estimate.constant for estimate in estimates):
        return "no interval: seeds and bootstrap replicates all give the same figure, so its error is not known"
    return "no interval: there are fewer than three seeds, and the records have no bootstrap replicates"


def _interval(rows: Rows) -> Iterator[str]:
    sources = _sources(rows)
    if "categories" in sources:
        yield from _over_categories(rows)
        return
    if not sources:
        yield f"{no_interval(one for _, row in rows for one in row)}."
        return
    ways = {"seeds": "seeds (Student's t)", "images": "test images (bootstrap)"}
    over = " and ".join(text for source, text in ways.items() if source in sources)
    yield f"±: half-width of a 95% interval over {over}; the categories are taken as fixed."
    if "seeds" not in sources:
        yield "fewer than three seeds: the intervals do not cover what other seeds would change."
        return
    fewest = min(len(estimate.seeds) for _, row in rows for estimate in row if "seeds" in estimate.sources)
    if fewest <= 3:
        t = float(stdtrit(fewest - 1, 0.975))
        yield f"{fewest} seeds say little: Student's factor is {t:.1f}, hence the wide intervals."
    if "images" in sources:
        yield from coverage_of_means(FIXED, fewest)
        drawn = {metric for metric, row in rows for estimate in row if "images" in estimate.sources}
        alone = {METRIC[metric].title: None for metric, row in rows if over_seeds([row]) and metric not in drawn}
        if alone:
            yield f"no bootstrap of {', '.join(alone)}: its ± is over seeds only."


def _over_categories(rows: Rows) -> Iterator[str]:
    sized = [len(estimate.categories) for _, row in rows for estimate in row if "categories" in estimate.sources]
    yield "±: half-width of a 95% interval over the categories, taken as a sample of their kind (Student's t)."
    yield from coverage_of_means(RANDOM, min(sized))
    for metric, row in rows:
        if any(0 < len(estimate.categories) < FEWEST_CATEGORIES for estimate in row):
            yield f"{METRIC[metric].title}: no interval, fewer than {FEWEST_CATEGORIES} categories have it."


def _skewed(rows: Rows) -> Iterator[str]:
    if any(spread_text(METRIC[metric], estimate).startswith("[") for metric, row in rows for estimate in row):
        yield "[low, high]: where ± would leave the range of the figure, the same interval on the logit scale."


def _images_only(rows: Rows) -> Iterator[str]:
    several = over_seeds(row for _, row in rows)
    if any(IMAGES in mark for _, row in rows for mark in marks(row, several)):
        yield f"{IMAGES} fewer than three whole seeds: this interval covers the test images only, so it looks narrower."


def _too_sure(rows: Rows) -> Iterator[str]:
    """No false alarm in 16 images does not prove that there never is one, but no resample holds any."""
    if any(estimate.image_error == 0 for _, row in rows for estimate in row):
        yield (
            "a figure that no resample of the test images changes, such as 0 or 1, has no interval, or one that is too"
            " small."
        )


def runs_used(group: Group, metric: str, estimate: Estimate) -> str:
    """How many runs the group has, "18/19" where some are missing; and before it those in its mean, where not all."""
    have = f"{len(group.runs)}/{group.planned}" if group.missing else str(len(group.runs))
    used = {
        run.record.signature
        for (category, seed), run in group.by_cell.items()
        if category in estimate.categories and seed in estimate.seeds and grid.figure(run, category, metric) is not None
    }
    return have if len(used) == len(group.runs) else f"{len(used)} of {have}"


def seeds_title(study: Study) -> str:
    """The seeds of the runs, and those that the means use where these are fewer."""
    seeds = sorted({seed for group in study.groups for _, seed in group.by_cell})
    text = f"{counted(len(seeds), 'seed')} ({_list(seeds)})"
    used = {estimate.seeds for estimate in study.estimates[RANKED] if estimate.value is not None}
    if used <= {tuple(seeds)}:
        return text
    which = _named(next(iter(used))) if len(used) == 1 else "fewer, as noted"
    return f"{text}, of which means over all categories use {which}"


def seeds_note(study: Study) -> Iterator[str]:
    """Which seeds the groups' means use, and which runs they leave out for that; nothing where all are used."""
    known = [(group, one) for group, one in zip(study.groups, study.estimates[RANKED], strict=True) if one.seeds]
    unused = ((group, cell) for group, one in known for cell in sorted(group.by_cell) if cell[1] not in one.seeds)
    names = [cell_name(group, cell) for group, cell in unused]
    if names:
        using = grouped((one.seeds, group.label) for group, one in known)
        parts = [
            _named(seeds) + (f" of {first_few(labels)}" if len(using) > 1 else "") for seeds, labels in using.items()
        ]
        yield f"{_RULE}, here {'; '.join(parts)}: not {counted(len(names), 'run')} ({first_few(names)})."


def unused_runs(group: Group, metric: str, estimate: Estimate, category: str | None) -> Iterator[str]:
    """Why runs of the group, those of `category` if given, are not in its mean: by seed, the categories it lacks."""
    cells, _ = grid.cells(group.runs, metric)
    values = {cell: value for cell, value in cells.items() if category in (None, cell[0])}
    unused = sorted({seed for _, seed in values} - set(estimate.seeds))
    lacking = grouped(
        (tuple(name for name in estimate.categories if values.get((name, seed)) is None), seed) for seed in unused
    )
    for absent, seeds in lacking.items():
        yield f"not used: {_named(seeds)}, without a value on {first_few(absent)}; {_RULE}"
    if any(value is None and seed in estimate.seeds for (_, seed), value in values.items()):
        yield "not used: runs without a finite value"


def _named(seeds: Sequence[int]) -> str:
    return f"seed{'s' if len(seeds) > 1 else ''} {_list(seeds)}"


def _list(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
