"""What must be said beside the tables so that they are not read as more than they are: one sentence each."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from diffect.config.description import counted
from diffect.reports import comparison_notes, mean_notes
from diffect.reports.cells import METRIC, NONE, ends
from diffect.reports.study import RANKED, Study
from diffect.reports.wording import cell_name, first_few, grouped, missing_categories
from diffect.runs import grid
from diffect.runs.record import GAINS
from diffect.runs.selection import flat
from diffect.runs.table import Run

_FEW_KEYS = 3  # config keys that a note names
_RATE = 0.05  # of false positives, in runs whose config does not say


def study_notes(study: Study) -> tuple[str, ...]:
    """The notes under the tables of a study, in order of weight."""
    checks: tuple[Callable[[Study], Iterable[str]], ...] = (
        evidence,
        _study_notes,
        _different_data,
        _order,
        mean_notes.interval_notes,
        _untrained,
        _training,
        _followers,
        _missing,
        _partial,
        _undefined,
        _patchy,
        _warnings,
        mean_notes.seeds_note,
        _promise,
        _likeness,
        _latency,
        comparison_notes.ranking_notes,
    )
    return tuple(sentence for check in checks for sentence in check(study))


def evidence(study: Study) -> Iterator[str]:
    """That the ranking is no evidence, where the study says so itself."""
    if any(run.record.config.get("evidence") is False for run in study.runs):
        yield "this ranking is no evidence: the study is too small for it, by design (evidence: false)."


def _study_notes(study: Study) -> list[str]:
    texts = {str(run.record.config.get("study_note") or "") for run in study.runs}
    return sorted(" ".join(text.split()) for text in texts if text)


def _different_data(study: Study) -> Iterator[str]:
    """Runs that call their data alike and mean different images: their figures do not compare."""
    data = {(", ".join(run.record.categories), run.record.fingerprint) for run in study.runs if run.record.fingerprint}
    for name, count in sorted(Counter(name for name, _ in data).items()):
        if count > 1:
            yield f"{name}: {count} different data sets of this name; runs on one do not compare with runs on another."


def _order(study: Study) -> Iterator[str]:
    """What the order of the groups is worth; the differences have their own notes."""
    if len(study.groups) < 2:
        yield "one group: there is nothing to compare it with."
    elif any(estimate.comparable for estimate in study.estimates[RANKED]):
        yield "groups are in order of their mean image AUROC; only the table of differences says which of them differ."
    else:
        yield "no group has an image AUROC in every category, so none is ranked."


def _training(study: Study) -> Iterator[str]:
    """How many of the learned runs ended below the loss of their own initialisation, and which did not."""
    learned = 0
    stuck = []
    for run in study.runs:
        first, best = run.record.training.loss_initial, run.record.training.loss_best
        if first is not None and best is not None:
            learned += 1
            stuck += [] if best < first else [run.record.signature]
    if learned:
        text = (
            f"training: {learned - len(stuck)} of {counted(learned, 'learned run')} ended below the loss of their own"
        )
        yield f"{text} initialisation{'; not: ' + first_few(stuck) if stuck else ''}."


def _untrained(study: Study) -> Iterator[str]:
    """What the gains are, and which groups have one that is not clear of zero."""
    gains = {metric: study.estimates[metric] for metric in GAINS.values() if metric in study.estimates}
    if not gains:
        return
    start = "; in a fine-tuned run that is the network it started from"
    tuned = any(run.record.finetuned_from for run in study.runs)
    yield (
        "gain over untrained: the figure less that of the same run before its first step of training, calibrated and "
        f"tested on the same images{start if tuned else ''}; the intervals are of differences paired by test image; "
        f"{NONE} where nothing learns by steps."
    )
    for metric, row in gains.items():
        pairs = zip(study.groups, row, strict=True)
        lows = [(study.label(group), (ends(METRIC[metric], one) or (one.value,))[0]) for group, one in pairs]
        if unclear := [label for label, low in lows if low is not None and low <= 0]:
            yield f"{METRIC[metric].title}: not clear of zero for {first_few(unclear)}; there training may add nothing."


def _followers(study: Study) -> Iterator[str]:
    """Which settings changed together with a choice and have no column."""
    for axis, keys in grid.followers(study.runs).items():
        values = {run.choice(axis): ", ".join(run.choice(key) for key in keys) for run in study.runs}
        names = [f"{value}: {values[value]}" for value in sorted(values, key=lambda value: grid.natural([value]))]
        yield f"{axis} also sets {' and '.join(keys)} ({'; '.join(names)})."


def _missing(study: Study) -> Iterator[str]:
    """The holes of the grid; runs launched one by one were never one."""
    if all(run.record.study == "single" for run in study.runs):
        return
    if names := [cell_name(group, cell) for group in study.groups for cell in group.missing]:
        yield f"missing: {counted(len(names), 'cell')} of the grid ({first_few(names)})."
    if study.holes:
        total = len(study.groups) + len(study.holes)
        names = [" ".join(values) for values in study.holes]
        where = " x ".join(study.axes)
        yield f"not run: {len(names)} of the {total} combinations of {where} ({first_few(names)})."


def _partial(study: Study) -> Iterator[str]:
    if lacking := missing_categories([group.label for group in study.groups], study.estimates):
        yield f"‡ a mean over fewer categories, not comparable with the others of its column, never marked: {lacking}."


def _undefined(study: Study) -> Iterator[str]:
    """Why a figure of the tables is a dash, or is made without some category, as the records say."""
    reasons = grouped(
        (" ".join(reason.split()), f"{category} {metric}")
        for run in study.runs
        for category, result in run.record.results.items()
        for metric, reason in result.undefined.items()
    )
    for reason, names in sorted(reasons.items()):
        yield f"undefined: {first_few(sorted(set(names)))}: {reason}."


def _patchy(study: Study) -> Iterator[str]:
    """Figures that some runs lack and whose records do not say why; and those that all lack."""
    cells = [(group, cell, run) for group in study.groups for cell, run in sorted(group.by_cell.items())]
    for metric in study.estimates:
        title = METRIC[metric].title
        results = ((group, cell, run.record.results[cell[0]]) for group, cell, run in cells)
        lacking = [
            cell_name(group, cell)
            for group, cell, result in results
            if result.metrics.get(metric) is None
            and metric not in result.undefined
            and not (metric in GAINS.values() and result.untrained is None)
        ]
        if len(lacking) == len(cells):
            yield f"{title}: no run has a finite figure."
        elif lacking:
            where = f"{len(lacking)} of {len(cells)} cells ({first_few(lacking)})"
            yield f"{title}: no finite figure in {where}; the sentences about it use the others."


def _warnings(study: Study) -> Iterator[str]:
    for category, texts in sorted(study.warned.items()):
        yield from (f"† {category}: {text}" for text in texts)
    yield "reference: figures that the field quotes; they were not measured here."


def _promise(study: Study) -> Iterator[str]:
    """The groups and categories whose conformal FPR has a 95% interval above the promised rate, and what it means."""
    broken: list[tuple[str, str]] = []
    promised: set[float] = set()
    for category, estimates in study.by_category.items():
        for group, estimate in zip(study.groups, estimates.get("conformal_fpr", ()), strict=False):
            runs = (run for (name, _), run in group.by_cell.items() if name == category)
            rate = max((_promised(run) for run in runs), default=_RATE)
            interval = ends(METRIC["conformal_fpr"], estimate)
            if interval is not None and interval[0] > rate:
                broken.append((category, group.label))
                promised.add(rate)
    if broken:
        where = "; ".join(
            category + (f": {first_few(names)}" if any(names) else "") for category, names in grouped(broken).items()
        )
        yield (
            f"conformal FPR: the promised rate of {' or '.join(f'{rate:g}' for rate in sorted(promised))} is not kept,"
            f" the 95% interval lies above it ({where}): there calibration and test images are not exchangeable, and"
            " conformal TPR is worth nothing."
        )


def _promised(run: Run) -> float:
    return float(run.record.config.get("evaluation", {}).get("conformal_rate", _RATE))


def _likeness(study: Study) -> Iterator[str]:
    """The config keys in which runs of one group differ, seed and data apart."""
    texts = [
        (f"{group.label}: " if group.label else "") + keys for group in study.groups if (keys := _differing(group.runs))
    ]
    if texts:
        what = "; ".join(texts)
        yield f"runs of one group differ in more than seed and data ({what}): its figures mix them."


def _differing(runs: Sequence[Run]) -> str:
    """The config keys that the runs have several values of, each with the runs that have not the commonest."""
    configs = {run.record.signature: _settings(run) for run in runs}
    parts = []
    for key in sorted({key for config in configs.values() for key in config}):
        values = {name: config.get(key) for name, config in configs.items()}
        ((common, _),) = Counter(values.values()).most_common(1)
        if odd := sorted(name for name, value in values.items() if value != common):
            parts.append(f"{key} of {first_few(odd)}")
    more = len(parts) - _FEW_KEYS
    return ", ".join(parts[:_FEW_KEYS]) + (f" and {more} more keys" if more > 0 else "")


def _settings(run: Run) -> dict[str, str]:
    """The run's config by dotted key, without seeds, data and what cannot change a number."""
    return {
        key: repr(value)
        for key, value in flat(run.record.config).items()
        if run.record.counts(key) and key.rsplit(".", 1)[-1] != "seed" and not f"{key}.".startswith("data.")
    }


def _latency(study: Study) -> Iterator[str]:
    """How the latency was measured, on what, and at which sizes of images where they differ."""
    devices = sorted({run.record.provenance.device for run in study.runs})
    where = f"on {devices[0]}, which may have been busy with other work"
    if len(devices) > 1:
        where = f"on {len(devices)} different devices, so not comparable ({first_few(devices)})"
    canvases = grouped(
        (" x ".join(map(str, canvas)), name)
        for run in study.runs
        if (canvas := run.record.splits.canvas)
        for name in run.record.categories
    )
    sizes = [f"{size} ({first_few(sorted(set(names)))})" for size, names in sorted(canvases.items())]
    different = f"; images of {' and '.join(sizes)} pixels" if len(sizes) > 1 else ""
    yield f"latency: batch 1, decoded image to map, the mean over runs {where}{different}."
