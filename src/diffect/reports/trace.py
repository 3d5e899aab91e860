"""The runs behind one figure of a report: what each of them measured, and how that makes the figure."""

from collections.abc import Sequence
from difflib import get_close_matches

from scipy.special import ndtri, stdtrit
from tabulate import tabulate

from diffect.reports import comparison, mean_notes
from diffect.reports.cells import METRIC, figure_text
from diffect.reports.study import BY_CATEGORY, COLUMNS, Study
from diffect.reports.wording import counted
from diffect.runs import grid, statistics
from diffect.runs.grid import Group
from diffect.runs.statistics import FIXED, RANDOM, Estimate

_HEADER = ("category", "seed", "value", "95% over test images", "used", "signature", "read from")


def trace_figure(study: Study, wanted: str) -> str:
    """The runs behind the figure `wanted`: METRIC,GROUP for a mean over categories, or METRIC,GROUP,CATEGORY.

    A group is named by its label or its choices, KEY=VALUE,... Raises ValueError for what the study does not have,
    with what it has.
    """
    metric, group, category = _parse(study, wanted)
    categories = tuple(name for name in grid.categories(study.runs, metric) if category in (None, name))
    estimand = FIXED if category is not None else study.estimand
    estimate = statistics.estimate_mean(estimand, *grid.cells(group.runs, metric), categories)
    blocks = [
        f"{METRIC[metric].title} of {study.label(group)}{f' on {category}' if category else ''} ({study.name})",
        tabulate(_lines(group, metric, category, estimate), _HEADER, "simple", disable_numparse=True),
        "\n".join(_sums(group, metric, category, estimate, estimand)),
        _place(metric, category, estimate),
    ]
    return "\n\n".join(blocks)


def _parse(study: Study, wanted: str) -> tuple[str, Group, str | None]:
    """The metric, group and category that `wanted` names; a group's label may itself hold commas."""
    metric, _, rest = (part.strip() for part in wanted.partition(","))
    metrics = [name for name in METRIC if grid.categories(study.runs, name)]
    if metric not in metrics:
        raise ValueError(f"trace={wanted}: there is no metric '{metric}'{_near(metric, metrics)}")
    labels, categories = [study.label(group) for group in study.groups], grid.categories(study.runs)
    if not rest:
        shape = "trace=METRIC,GROUP or METRIC,GROUP,CATEGORY"
        raise ValueError(f"trace={wanted}: GROUP is missing ({shape}). There are: {'; '.join(labels)}")
    if (group := _group(study, rest)) is not None:
        return metric, group, None
    name, _, category = (part.strip() for part in rest.rpartition(","))
    if (group := _group(study, name)) is None:
        meant = name if name and category in categories else rest
        raise ValueError(f"trace={wanted}: there is no one group '{meant}'{_near(meant, labels)}")
    if category not in categories:
        raise ValueError(f"trace={wanted}: there is no category '{category}'{_near(category, categories)}")
    return metric, group, category


def _group(study: Study, name: str) -> Group | None:
    """The one group of this label or these choices."""
    for group in study.groups:
        if study.label(group) == name:
            return group
    try:
        return comparison.group_named(study.groups, study.axes, name)
    except ValueError:
        return None


def _near(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"{f'; did you mean {near[0]}?' if near else ';'} There are: {'; '.join(known)}"


def _lines(group: Group, metric: str, category: str | None, estimate: Estimate) -> Sequence[tuple[str, ...]]:
    """A row per run and category, by category and seed, as in the long table; every digit."""
    found = []
    for (name, seed), run in sorted(group.by_cell.items()):
        result = run.record.results[name]
        if metric not in result.metrics or category not in (None, name):
            continue
        value, ends = result.metrics[metric], result.intervals.get(metric)
        interval = "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
        used = value is not None and name in estimate.categories and seed in estimate.seeds
        figures = ("" if value is None else repr(value), interval, "yes" if used else "no")
        found.append((name, str(seed), *figures, run.record.signature, str(run.folder)))
    return found


def _sums(group: Group, metric: str, category: str | None, estimate: Estimate, estimand: str) -> list[str]:
    """How the values make the mean, and their spread its interval."""
    if estimate.value is None:
        return ["no run has a value: there is no mean"]
    found = f"{counted(len(estimate.seeds), 'seed')} ({', '.join(map(str, estimate.seeds))})"
    over = f"the mean over {found}"
    if len(estimate.categories) > 1:
        listed = ", ".join(estimate.categories)
        over = (
            f"the mean over {counted(len(estimate.categories), 'category', 'categories')} ({listed}) of {over} in each"
        )
    texts = [f"{estimate.value!r} = {over}", *mean_notes.unused_runs(group, metric, estimate, category)]
    if estimand == RANDOM:
        texts.append("the categories are taken as a sample (estimand=random): the interval is over them")
    parts = _parts(estimate)
    if not parts:
        return [*texts, "no interval: there is one seed, and the records hold no bootstrap replicates"]
    squares = " + ".join(f"({factor:.4g} x {error:.6g})^2" for _, factor, error in parts)
    over = ", ".join(name for name, _, _ in parts)
    return [*texts, f"{estimate.half!r} = half-width of the 95% interval = sqrt({squares}), from {over}"]


def _parts(estimate: Estimate) -> list[tuple[str, float, float]]:
    """What the interval is made of: each source, its quantile and its standard error."""
    over = (
        ("seeds (Student's t)", estimate.seed_error, len(estimate.seeds)),
        ("test images (bootstrap)", estimate.image_error, None),
        ("categories (Student's t)", estimate.category_error, len(estimate.categories)),
    )
    return [
        (name, float(ndtri(0.975) if size is None else stdtrit(size - 1, 0.975)), error)
        for name, error, size in over
        if error is not None
    ]


def _place(metric: str, category: str | None, estimate: Estimate) -> str:
    """Where in the tables the figure stands, as it is printed there."""
    if estimate.value is None or metric not in (COLUMNS if category is None else BY_CATEGORY):
        return "in no printed table; long.csv and runs.csv have the runs' values"
    half = "" if estimate.half is None else f" ± {figure_text(METRIC[metric], estimate.half)}"
    return f"in the tables: {figure_text(METRIC[metric], estimate.value)}{half}"
