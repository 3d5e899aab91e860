"""A sentence about all runs of a study: said once where they agree, else for each value of what it depends on."""

from collections.abc import Iterable, Sequence

import pandas as pd

from diffect.reports.escaping import breakable
from diffect.reports.study import Study
from diffect.reports.wording import grouped, listed
from diffect.runs import grid
from diffect.runs.grid import short
from diffect.runs.record import Record
from diffect.runs.selection import flat


def by_choice(study: Study, lead: str, texts: Sequence[str]) -> str:
    """A sentence that begins with `lead` and goes on with `texts`, LaTeX, one for each run; a run may have none."""
    if not any(texts):
        return ""
    if len(set(texts)) == 1:
        return f"{lead} {texts[0]}."
    reason, values = _depends_on(study, texts)
    parts = [f"{listed(names)}: {text}" for text, names in _by_text(values).items() if text]
    return rf"{lead} (for each {reason}) {'; '.join(parts)}."


def other_differences(study: Study) -> list[str]:
    """A sentence on the config keys in which the runs differ, other than the axes and what belongs to these.

    Seeds and what changes no number are left out. A study with a run that has no config gets no sentence.
    """
    if not all(run.record.config for run in study.runs):
        return []
    said = {"data.category", *study.axes}
    said |= {key for keys in grid.followers(study.runs).values() for key in keys}
    settings = [_leaves(run.record) for run in study.runs]
    values = {
        key: [known.get(key, "") for known in settings] for key in sorted({key for one in settings for key in one})
    }
    differing = [key for key, texts in values.items() if len(set(texts)) > 1 and not _within(key, said)]
    if not differing:
        return ["All other settings are the same."]
    keys_by_reason = grouped((_depends_on(study, values[key])[0], rf"\texttt{{{breakable(key)}}}") for key in differing)
    parts = [f"{listed(keys)} (by {reason})" for reason, keys in sorted(keys_by_reason.items())]
    return [f"The runs also differ in {'; '.join(parts)}; all other settings are the same."]


def _depends_on(study: Study, texts: Sequence[str]) -> tuple[str, dict[str, str]]:
    """What decides the text, and the text of each of its values.

    It is the first that suffices: an axis, or else the group, the category, the seed, group and category, the run.
    """
    runs = study.runs
    columns = {
        rf"\emph{{{breakable(title)}}}": [run.choice(axis) for run in runs]
        for axis, title in zip(study.axes, short(study.axes), strict=True)
    }
    groups = [", ".join(run.choice(axis) for axis in study.axes) for run in runs]
    categories = [", ".join(run.unit[0]) for run in runs]
    columns |= {"group": groups, "category": categories, "seed": [str(run.unit[1]) for run in runs]}
    by_text = pd.Series(texts)
    alike = by_text.groupby(groups).nunique() == 1
    columns["group and category"] = [
        group if alike[group] else f"{group} on {category}" if group else category
        for group, category in zip(groups, categories, strict=True)
    ]
    columns["run"] = [run.record.signature for run in runs]
    reason = next(name for name, values in columns.items() if by_text.groupby(values).nunique().max() == 1)
    return reason, dict(zip(columns[reason], texts, strict=True))


def _by_text(values: dict[str, str]) -> dict[str, list[str]]:
    """The values that have each text, all in natural order."""
    ordered = sorted(values, key=lambda value: grid.natural([value]))
    return grouped((values[value], rf"\emph{{{breakable(value)}}}") for value in ordered)


def _leaves(record: Record) -> dict[str, str]:
    """The config's values by dotted key, the class of a part by that of the part; without seeds."""
    return {
        key.removesuffix("._target_"): repr(value)
        for key, value in flat(record.config).items()
        if record.counts(key) and key.rsplit(".", 1)[-1] not in ("seed", "_partial_")
    }


def _within(key: str, parts: Iterable[str]) -> bool:
    """Whether `key` is one of `parts` or lies in one, also where another part holds a copy of it."""
    return any(f".{part}." in f".{key}." for part in parts)
