"""The runs behind one figure of a report: what each of them measured, and how that makes the figure."""

from collections.abc import Iterator, Sequence

from tabulate import tabulate

from diffect.config.description import counted
from diffect.errors import suggest
from diffect.reports import comparison, mean_notes
from diffect.reports.cells import METRIC, estimate_cell
from diffect.reports.study import BY_CATEGORY, COLUMNS, Study
from diffect.runs import grid, statistics
from diffect.runs.grid import Group
from diffect.runs.statistics import FEWEST_SEEDS, FIXED, RANDOM, Estimate

_HEADER = ("category", "seed", "value", "95% over test images", "used", "signature", "read from")
_SOURCES = {
    "seeds": "seeds (Student's t)",
    "images": "test images (bootstrap)",
    "categories": "categories (Student's t)",
}


def trace_figure(study: Study, wanted: str) -> str:
    """The runs behind the figure `wanted`: METRIC,GROUP for a mean over categories, or METRIC,GROUP,CATEGORY.

    A group is named by its label or its choices, KEY=VALUE,... Raises ValueError for what the study does not have,
    with what it has.
    """
    metric, group, category = _parse(study, wanted)
    categories = tuple(name for name in grid.categories(study.runs, metric) if category in (None, name))
    estimand = FIXED if category is not None else study.estimand
    estimate = statistics.estimate_mean(estimand, *grid.cells(group.runs, metric), categories, FEWEST_SEEDS)
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
    name, _, category = (part.strip() for part in rest.rpartition(","))
    metrics, labels = [one for one in METRIC if grid.categories(study.runs, one)], list(map(study.label, study.groups))
    categories = grid.categories(study.runs)
    if metric not in metrics:
        problem = f"there is no metric '{metric}'{_near(metric, metrics)}"
    elif not rest:
        shape = "trace=METRIC,GROUP or METRIC,GROUP,CATEGORY"
        problem = f"GROUP is missing ({shape}). There are: {'; '.join(labels)}"
    elif (group := _group(study, rest)) is not None:
        return metric, group, None
    elif (group := _group(study, name)) is None:
        meant = name if name and category in categories else rest
        problem = f"there is no single group called '{meant}'{_near(meant, labels)}"
    elif category not in categories:
        problem = f"there is no category '{category}'{_near(category, categories)}"
    else:
        return metric, group, category
    raise ValueError(f"trace={wanted}: {problem}")


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
    return f"{suggest(name, known) or ';'} There are: {'; '.join(known)}"


def _lines(group: Group, metric: str, category: str | None, estimate: Estimate) -> Sequence[tuple[str, ...]]:
    """A row per run and category, by category and seed, as in the long table; every digit."""
    lines = []
    for (name, seed), run in sorted(group.by_cell.items()):
        result = run.record.results[name]
        if metric not in result.metrics or category not in (None, name):
            continue
        value, ends = result.metrics[metric], result.intervals.get(metric)
        interval = "" if ends is None else f"{ends[0]:.3f} to {ends[1]:.3f}"
        used = value is not None and name in estimate.categories and seed in estimate.seeds
        figures = ("" if value is None else repr(value), interval, "yes" if used else "no")
        lines.append((name, str(seed), *figures, run.record.signature, str(run.folder)))
    return lines


def _sums(group: Group, metric: str, category: str | None, estimate: Estimate, estimand: str) -> Iterator[str]:
    """How the values make the mean, and their spread its interval."""
    if estimate.value is None:
        yield "no run has a value: there is no mean"
        return
    over = f"the mean over {counted(len(estimate.seeds), 'seed')} ({', '.join(map(str, estimate.seeds))})"
    if len(estimate.categories) > 1:
        what = counted(len(estimate.categories), "category", "categories")
        over = f"the mean over {what} ({', '.join(estimate.categories)}) of {over} in each"
    yield f"{estimate.value!r} = {over}"
    yield from mean_notes.unused_runs(group, metric, estimate, category)
    if estimand == RANDOM:
        yield "the categories are taken as a sample (estimand=random): the interval is over them"
    if parts := estimate.parts(0.05):
        squares = " + ".join(f"({quantile:.4g} x {error:.6g})^2" for quantile, error in parts.values())
        over = ", ".join(_SOURCES[source] for source in parts)
        yield f"{estimate.half!r} = half-width of the 95% interval = sqrt({squares}), from {over}"
    else:
        yield mean_notes.no_interval([estimate])


def _place(metric: str, category: str | None, estimate: Estimate) -> str:
    """Where in the tables the figure stands, as it is printed there."""
    if estimate.value is None or metric not in (COLUMNS if category is None else BY_CATEGORY):
        return "in no printed table; long.csv and runs.csv have the runs' values"
    return f"in the tables: {estimate_cell(METRIC[metric], estimate).text('{}')}"
