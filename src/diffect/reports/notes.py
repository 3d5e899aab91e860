"""What must be said beside a table so that it is not read as more than it is: one sentence each."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffect.reports import interval_notes
from diffect.reports.cells import METRIC
from diffect.runs import grid
from diffect.runs.grid import Group
from diffect.runs.statistics import Estimate
from diffect.runs.table import Run

_LISTED = 6  # how many of a kind a note names


def lines(
    runs: Sequence[Run],
    groups: Sequence[Group],
    axes: Sequence[str],
    holes: Sequence[tuple[str, ...]],
    estimates: Mapping[str, Sequence[Estimate]],
    by_category: Mapping[str, Mapping[str, Sequence[Estimate]]],
    warned: dict[str, tuple[str, ...]],
) -> list[str]:
    """The notes under a study's tables, in order of weight; the first of `estimates` ranks the groups."""
    ranking = next(iter(estimates.values()))
    found = [evidence(runs), *_study_notes(runs), *_different_data(runs), _order(groups, ranking)]
    found += [*interval_notes.interval_notes(runs, estimates), training(runs), *_followers(runs)]
    if any(run.record.study != "single" for run in runs):  # runs launched one by one were never a grid
        found += [_missing_runs(groups), _absent(groups, axes, holes)]
    found.append(_partial(groups, estimates))
    found += [*_undefined(runs), *_patchy(groups, estimates)]
    found += [f"† {category}: {text}" for category, texts in sorted(warned.items()) for text in texts]
    found.append("reference: figures that the field quotes; they were not measured here.")
    return [line for line in found if line]


def warnings(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """The audit's warnings by category, as the records carry them."""
    found: dict[str, set[str]] = {}
    for run in runs:
        for category, audit in run.record.audit.items():
            if audit.warning:
                found.setdefault(category, set()).add(" ".join(audit.warning.split()))
    return {category: tuple(sorted(texts)) for category, texts in found.items()}


def training(runs: Sequence[Run]) -> str:
    """How many of the learned runs ended below the loss of their own initialisation, and which did not."""
    learned: list[Run] = []
    stuck: list[str] = []
    for run in runs:
        first, best = run.record.training.loss_initial, run.record.training.loss_best
        if first is None or best is None:
            continue
        learned.append(run)
        if not best < first:
            stuck.append(run.record.signature)
    if not learned:
        return ""
    text = f"training: {len(learned) - len(stuck)} of {count(learned, 'learned run')} ended below the loss"
    return f"{text} of their own initialisation{'; not: ' + listed(stuck) if stuck else ''}."


def holes_as_rows(groups: Sequence[Group], holes: Sequence[tuple[str, ...]]) -> bool:
    """Whether absent combinations are holes in a crossed grid (rows of the table) or a grid never meant."""
    return 0 < len(holes) <= len(groups)


def count(items: Sequence[Any], one: str, many: str | None = None) -> str:
    """ "1 run", "3 runs"."""
    return f"{len(items)} {one if len(items) == 1 else many or one + 's'}"


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _LISTED
    return joined(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def joined(names: Sequence[str]) -> str:
    """All names; those with commas of their own, as groups of several axes, in brackets."""
    return ", ".join(f"[{name}]" if "," in name else name for name in names)


def without(labels: Sequence[str], estimates: Mapping[str, Sequence[Estimate]]) -> str:
    """Which categories the means of each group lack, by metric where these differ; the rows follow `labels`."""
    texts = []
    for place, label in enumerate(labels):
        lacking: dict[tuple[str, ...], list[str]] = {}
        for metric, row in estimates.items():
            if row[place].value is not None:
                lacking.setdefault(row[place].missing, []).append(METRIC[metric].title)
        for missing, titles in lacking.items():
            where = f" ({', '.join(titles)})" if len(lacking) > 1 else ""
            texts += [f"{label} without {listed(missing)}{where}"] if missing else []
    return "; ".join(texts)


def _different_data(runs: Sequence[Run]) -> list[str]:
    """Runs that call their data alike and mean different images: their figures do not compare."""
    found: dict[str, set[str]] = {}
    for run in runs:
        if run.record.fingerprint:
            found.setdefault(", ".join(run.record.categories), set()).add(run.record.fingerprint)
    return [
        f"{name}: {len(data)} different data sets of this name; runs on one do not compare with runs on another."
        for name, data in sorted(found.items())
        if len(data) > 1
    ]


def evidence(runs: Sequence[Run]) -> str:
    """That the ranking is no evidence, where the study says so itself; else nothing."""
    if any(run.record.config.get("evidence") is False for run in runs):
        return "this ranking is no evidence: the study is too small for it, by design (evidence: false)."
    return ""


def _study_notes(runs: Sequence[Run]) -> list[str]:
    texts = {str(run.record.config.get("study_note") or "") for run in runs}
    return sorted(" ".join(text.split()) for text in texts)


def _order(groups: Sequence[Group], ranking: Sequence[Estimate]) -> str:
    """What the order of the groups is worth; the differences have their own notes."""
    if len(groups) < 2:
        return "one group: there is nothing to compare it with."
    text = "groups stand by their mean image AUROC; only the table of differences says which of them differ"
    if not any(estimate.comparable for estimate in ranking):
        text = "no group has an image AUROC in every category, so none is ranked"
    return f"{text}."


def _followers(runs: Sequence[Run]) -> list[str]:
    """What came along with a choice and has no column of its own."""
    found = []
    for axis, keys in grid.followers(runs).items():
        values = {run.choice(axis): ", ".join(run.choice(key) for key in keys) for run in runs}
        names = [f"{value}: {values[value]}" for value in sorted(values, key=lambda value: grid.natural([value]))]
        found.append(f"with {axis} came {' and '.join(keys)} ({'; '.join(names)}).")
    return found


def _missing_runs(groups: Sequence[Group]) -> str:
    names = [
        " ".join([*group.values, category, f"seed {seed}"]) for group in groups for category, seed in group.missing
    ]
    if not names:
        return ""
    return f"missing: {count(names, 'cell')} of the grid ({listed(names)})."


def _absent(groups: Sequence[Group], axes: Sequence[str], holes: Sequence[tuple[str, ...]]) -> str:
    if not holes:
        return ""
    total = len(groups) + len(holes)
    names = [" ".join(values) for values in holes]
    where = " x ".join(axes)
    return f"not run: {len(holes)} of the {total} combinations of {where} ({listed(names)})."


def _partial(groups: Sequence[Group], estimates: Mapping[str, Sequence[Estimate]]) -> str:
    lacking = without([group.label for group in groups], estimates)
    if not lacking:
        return ""
    return f"‡ a mean over fewer categories, not comparable with the others of its column, never marked: {lacking}."


def _undefined(runs: Sequence[Run]) -> list[str]:
    """Why a figure of the tables is a dash, or is made without some category, as the records say."""
    reasons: dict[str, set[str]] = {}
    for run in runs:
        for category, result in run.record.results.items():
            for metric, reason in result.undefined.items():
                reasons.setdefault(" ".join(reason.split()), set()).add(f"{category} {metric}")
    return [f"undefined: {listed(sorted(names))}: {reason}." for reason, names in sorted(reasons.items())]


def _patchy(groups: Sequence[Group], estimates: Mapping[str, Sequence[Estimate]]) -> list[str]:
    """Figures that some runs lack and whose records do not say why; and those that all lack."""
    found = []
    for metric in estimates:
        lacking: list[str] = []
        cells = [(group, cell, run) for group in groups for cell, run in sorted(group.by_cell.items())]
        for group, (category, seed), run in cells:
            result = run.record.results[category]
            if result.metrics.get(metric) is None and metric not in result.undefined:
                lacking.append(" ".join([*group.values, category, f"seed {seed}"]))
        if len(lacking) == len(cells):
            found.append(f"{METRIC[metric].title}: no run has a finite figure.")
        elif lacking:
            title = f"{METRIC[metric].title}: no finite figure in {len(lacking)} of {len(cells)} cells"
            found.append(f"{title} ({listed(lacking)}); what is said of it is made of the others.")
    return found
