"""The noise schedules that a study's runs train by, each once and under its own name."""

from collections.abc import Sequence
from dataclasses import dataclass

from diffect.reports.study import Study
from diffect.runs import grid
from diffect.runs.record import Curves
from diffect.runs.table import Run


@dataclass(frozen=True)
class Trained:
    """A schedule as the records hold it, and the places in `study.runs` of those that train by it."""

    name: str
    curves: Curves
    runs: tuple[int, ...]


def trained(run: Run) -> bool:
    """Whether a run trains by its schedule: neither solved at once, nor left to a scorer with levels of its own."""
    denoiser = run.record.config.get("denoiser") or {}
    own = str(denoiser.get("_target_", "")).endswith(".NoDenoiser")
    return run.record.training.steps != 0 and not own


def schedules(study: Study) -> list[Trained]:
    """The distinct schedules of the runs that train, in natural order; no two share a name."""
    found: dict[str, tuple[Curves, list[int]]] = {}
    for place, run in enumerate(study.runs):
        schedule = run.record.schedule if trained(run) else None
        if schedule is not None:
            found.setdefault(repr(schedule), (schedule, []))[1].append(place)
    plain = [schedule.name for schedule, _ in found.values()]
    named = [
        Trained(name if plain.count(name) == 1 else _with_choices(study, name, places), schedule, tuple(places))
        for name, (schedule, places) in zip(plain, found.values(), strict=True)
    ]
    named.sort(key=lambda one: grid.natural([one.name]))
    names = [one.name for one in named]
    return [
        Trained(one.name + (f" #{same + 1}" if (same := names[:place].count(one.name)) else ""), one.curves, one.runs)
        for place, one in enumerate(named)
    ]


def _with_choices(study: Study, name: str, places: Sequence[int]) -> str:
    """The name, and the axes that are the same in all runs of this schedule: they tell it from its namesakes."""
    columns = ({study.runs[place].choice(axis) for place in places} for axis in study.axes)
    constant = [next(iter(values)) for values in columns if len(values) == 1]
    return ", ".join([name, *(value for value in constant if value != name)])
