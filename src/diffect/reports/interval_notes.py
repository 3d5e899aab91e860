"""What the intervals of a table were made from, and how far they can be trusted: one sentence each."""

from collections.abc import Iterable, Mapping, Sequence

from scipy.special import stdtrit

from diffect.reports.cells import IMAGES, METRIC, marks, over_seeds
from diffect.runs.coverage import simulated_coverage
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
