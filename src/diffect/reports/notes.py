"""What must be said beside the tables so that they are not read as more than they are: one sentence each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from diffect.reports import comparison_notes, mean_notes
from diffect.reports.cells import METRIC
from diffect.reports.study import RANKED, Study
from diffect.reports.wording import counted, first_few, missing_categories
from diffect.runs import grid
from diffect.runs.grid import Group
from diffect.runs.selection import flat
from diffect.runs.statistics import Estimate
from diffect.runs.table import NO_EFFECT, Run

_FEW_KEYS = 3  # config keys that a note names
_RATE = 0.05  # of false positives, in runs whose config does not say


def study_notes(study: Study) -> tuple[str, ...]:
    """The notes under the tables of a study, in order of weight."""
    runs, groups, estimates = study.runs, study.groups, study.estimates
    texts = [evidence(runs), *_study_notes(runs), *_different_data(runs), _order(groups, estimates[RANKED])]
    texts += [*mean_notes.interval_notes(runs, estimates), training(runs), *_followers(runs)]
    if any(run.record.study != "single" for run in runs):  # runs launched one by one were never a grid
        texts += [_missing_runs(groups), _absent(groups, study.axes, study.holes)]
    texts += [_partial(groups, estimates), *_undefined(runs), *_patchy(groups, estimates)]
    texts += [f"† {category}: {text}" for category, found in sorted(study.warned.items()) for text in found]
    texts.append("reference: figures that the field quotes; they were not measured here.")
    rates = {category: found["conformal_fpr"] for category, found in study.by_category.items()}
    texts += [mean_notes.seeds_note(groups, estimates[RANKED]), promise_note(groups, rates), likeness_note(groups)]
    texts.append(latency_note(runs))
    if len(groups) > 1:
        texts += comparison_notes.ranking_notes(study.ranking, study.stability, study.estimand)
    return tuple(text for text in texts if text)


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
    text = f"training: {len(learned) - len(stuck)} of {counted(len(learned), 'learned run')} ended below the loss"
    return f"{text} of their own initialisation{'; not: ' + first_few(stuck) if stuck else ''}."


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
    text = "groups are in order of their mean image AUROC; only the table of differences says which of them differ"
    if not any(estimate.comparable for estimate in ranking):
        text = "no group has an image AUROC in every category, so none is ranked"
    return f"{text}."


def _followers(runs: Sequence[Run]) -> list[str]:
    """Which settings changed together with a choice and have no column."""
    found = []
    for axis, keys in grid.followers(runs).items():
        values = {run.choice(axis): ", ".join(run.choice(key) for key in keys) for run in runs}
        names = [f"{value}: {values[value]}" for value in sorted(values, key=lambda value: grid.natural([value]))]
        found.append(f"{axis} also sets {' and '.join(keys)} ({'; '.join(names)}).")
    return found


def _missing_runs(groups: Sequence[Group]) -> str:
    names = [
        " ".join([*group.values, category, f"seed {seed}"]) for group in groups for category, seed in group.missing
    ]
    if not names:
        return ""
    return f"missing: {counted(len(names), 'cell')} of the grid ({first_few(names)})."


def _absent(groups: Sequence[Group], axes: Sequence[str], holes: Sequence[tuple[str, ...]]) -> str:
    if not holes:
        return ""
    total = len(groups) + len(holes)
    names = [" ".join(values) for values in holes]
    where = " x ".join(axes)
    return f"not run: {len(holes)} of the {total} combinations of {where} ({first_few(names)})."


def _partial(groups: Sequence[Group], estimates: Mapping[str, Sequence[Estimate]]) -> str:
    lacking = missing_categories([group.label for group in groups], estimates)
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
    return [f"undefined: {first_few(sorted(names))}: {reason}." for reason, names in sorted(reasons.items())]


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
            found.append(f"{title} ({first_few(lacking)}); what is said of it is made of the others.")
    return found


def likeness_note(groups: Sequence[Group]) -> str:
    """The config keys in which runs of one group differ, seed and data apart; nothing where there are none."""
    found = [(group, _differing(group.runs)) for group in groups]
    texts = [f"{f'{group.label}: ' if group.label else ''}{_keys(keys)}" for group, keys in found if keys]
    if not texts:
        return ""
    return f"runs of one group differ in more than seed and data ({'; '.join(texts)}): what is said of it mixes them."


def _differing(runs: Sequence[Run]) -> dict[str, list[str]]:
    """The config keys that the runs have several values of, each with the runs that have not the commonest."""
    configs = {run.record.signature: _settings(run) for run in runs}
    found = {}
    for key in sorted({key for config in configs.values() for key in config}):
        values = {name: repr(config.get(key)) for name, config in configs.items()}
        common = Counter(values.values()).most_common(1)[0][0] if values else ""
        if odd := sorted(name for name, value in values.items() if value != common):
            found[key] = odd
    return found


def _settings(run: Run) -> dict[str, Any]:
    """The run's config by dotted key, without seeds, data and what cannot change a number."""
    return {
        key: value
        for key, value in flat(run.record.config).items()
        if key.rsplit(".", 1)[-1] != "seed"
        and not any(f"{key}.".startswith(f"{name}.") for name in ("data", *NO_EFFECT))
    }


def _keys(differing: dict[str, list[str]]) -> str:
    parts = [f"{key} of {first_few(runs)}" for key, runs in list(differing.items())[:_FEW_KEYS]]
    more = len(differing) - _FEW_KEYS
    return ", ".join(parts) + (f" and {more} more keys" if more > 0 else "")


def latency_note(runs: Sequence[Run]) -> str:
    """One sentence on how the latency was measured, and on what, as the records say."""
    devices = sorted({run.record.provenance.device for run in runs})
    if len(devices) > 1:
        where = f"on {len(devices)} different devices, so not comparable ({first_few(devices)})"
    else:
        where = f"on {devices[0]}, which may have been busy with other work"
    return f"latency: batch 1, decoded image to map, the mean over runs {where}{_image_sizes(runs)}."


def _image_sizes(runs: Sequence[Run]) -> str:
    """The sizes of the images in pixels with their categories, where they differ."""
    found: dict[str, set[str]] = {}
    for run in runs:
        if canvas := run.record.splits.canvas:
            found.setdefault(" x ".join(map(str, canvas)), set()).update(run.record.categories)
    if len(found) < 2:
        return ""
    sizes = [f"{size} ({first_few(sorted(names))})" for size, names in sorted(found.items())]
    return f"; images of {' and '.join(sizes)} pixels"


def promise_note(groups: Sequence[Group], rates: Mapping[str, Sequence[Estimate]]) -> str:
    """The groups and categories whose conformal FPR has a 95% interval above the promised rate, and what it means.

    `rates` are the estimates of the FPR by category, each in the order of the groups. Nothing where all keep it.
    """
    broken: dict[str, list[str]] = {}
    promised: set[float] = set()
    for category, row in rates.items():
        for group, estimate in zip(groups, row, strict=True):
            rate = max((_promised(run) for (name, _), run in group.by_cell.items() if name == category), default=_RATE)
            if estimate.value is None or estimate.half is None or estimate.value - estimate.half <= rate:
                continue
            broken.setdefault(category, []).append(group.label)
            promised.add(rate)
    if not broken:
        return ""
    where = "; ".join(category + (f": {first_few(names)}" if any(names) else "") for category, names in broken.items())
    return (
        f"conformal FPR: the promised rate of {' or '.join(f'{rate:g}' for rate in sorted(promised))} is not kept, the"
        f" 95% interval lies above it ({where}): there calibration and test images are not exchangeable, and conformal"
        " TPR is worth nothing."
    )


def _promised(run: Run) -> float:
    return float(run.record.config.get("evaluation", {}).get("conformal_rate", _RATE))
