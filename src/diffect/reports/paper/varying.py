"""A sentence about all runs of a study: said once where they agree, else by the choice that it follows."""

from collections.abc import Iterable, Sequence

from diffect.reports.escaping import breakable
from diffect.reports.paper.phrases import Config, listed
from diffect.reports.study import Study
from diffect.runs import grid
from diffect.runs.grid import short

_BESIDE = ("study", "study_note", "evidence", "panel", "gallery", "tracking", "cache")  # not of the method


def told(study: Study, lead: str, texts: Sequence[str]) -> str:
    """`lead` and what `texts` say, LaTeX, one for each run; a run with an empty one is not spoken of."""
    if not any(texts):
        return ""
    if len(set(texts)) == 1:
        return f"{lead} {texts[0]}."
    follows, values = _follows(study, texts)
    said = [f"{listed(names)}: {text}" for text, names in _by_text(values).items() if text]
    return rf"{lead} (by {follows}) {'; '.join(said)}."


def _follows(study: Study, texts: Sequence[str]) -> tuple[str, dict[str, str]]:
    """The first axis that alone decides the text, or else group, category, seed, group and category; by value."""
    for axis, title in zip(study.axes, short(study.axes), strict=True):
        if (values := _function((run.choice(axis) for run in study.runs), texts)) is not None:
            return rf"\emph{{{breakable(title)}}}", values
    labels = {
        "group": [", ".join(run.choice(axis) for axis in study.axes) for run in study.runs],
        "category": [", ".join(run.unit[0]) for run in study.runs],
        "seed": [str(run.unit[1]) for run in study.runs],
    }
    for follows, of_runs in labels.items():
        if (values := _function(of_runs, texts)) is not None:
            return follows, values
    if (values := _by_both(labels["group"], labels["category"], texts)) is not None:
        return "group and category", values
    return "run", dict(zip((run.record["signature"] for run in study.runs), texts, strict=True))


def _by_both(groups: Sequence[str], categories: Sequence[str], texts: Sequence[str]) -> dict[str, str] | None:
    """The text of each group, or of each of its categories where they differ; None where one of these has several."""
    by_group: dict[str, set[str]] = {}
    for group, text in zip(groups, texts, strict=True):
        by_group.setdefault(group, set()).add(text)
    labels = [
        group if len(by_group[group]) == 1 else f"{group} on {category}" if group else category
        for group, category in zip(groups, categories, strict=True)
    ]
    return _function(labels, texts)


def _function(values: Iterable[str], texts: Iterable[str]) -> dict[str, str] | None:
    """The text of each value, or None where a value has several."""
    found: dict[str, str] = {}
    same = all(found.setdefault(value, text) == text for value, text in zip(values, texts, strict=True))
    return found if same else None


def _by_text(values: dict[str, str]) -> dict[str, list[str]]:
    """The values that have each text, all in natural order."""
    found: dict[str, list[str]] = {}
    for value in sorted(values, key=lambda value: grid.natural([value])):
        found.setdefault(values[value], []).append(rf"\emph{{{breakable(value)}}}")
    return found


def apart(study: Study) -> list[str]:
    """Sentences on what else differs between the configs of the runs, beside the axes and the parts they bring along.

    Seeds are told by the design, what a run is tracked or drawn with is not of the method. A study with a run that has
    no config gets none.
    """
    configs = [run.record.get("config") or {} for run in study.runs]
    if not all(configs):
        return []
    told_of = {"seed", "data.category", *_BESIDE, *study.axes}
    told_of |= {key for keys in grid.followers(study.runs).values() for key in keys}
    flat = [_leaves(config) for config in configs]
    differing = [
        key
        for key in sorted({key for leaves in flat for key in leaves})
        if len({leaves.get(key) for leaves in flat}) > 1 and not _within(key, told_of)
    ]
    if not differing:
        return ["All other choices are the same."]
    found: dict[str, list[str]] = {}
    for key in differing:
        follows, _ = _follows(study, [leaves.get(key, "") for leaves in flat])
        found.setdefault(follows, []).append(rf"\texttt{{{breakable(key)}}}")
    ways = [f"{listed(keys)} (by {way})" for way, keys in sorted(found.items())]
    return [f"Also different are {'; '.join(ways)}; all other choices are the same."]


def _leaves(config: Config, stem: str = "") -> dict[str, str]:
    """The config's values by their dotted keys, less seeds, which parts take from the run."""
    found: dict[str, str] = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= _leaves(value, f"{stem}{key}.")
        elif key == "_target_":  # the class of the part
            found[stem.removesuffix(".")] = repr(value)
        elif key not in ("seed", "_partial_"):
            found[stem + key] = repr(value)
    return found


def _within(key: str, parts: Iterable[str]) -> bool:
    """Whether `key` is one of `parts` or lies in one, also where another part holds a copy of it."""
    return any(f".{part}." in f".{key}." for part in parts)
