"""Quality along the one axis of a study that holds numbers: where these stand, and which groups a line joins."""

import math
from dataclasses import dataclass

from diffect.reports.cells import METRIC
from diffect.reports.study import Study
from diffect.runs.statistics import Estimate

METRICS = ("image_auroc", "pixel_aupro_30")
ALL = "all"  # what null stands for: as many as there are
_FEWEST = 3  # numbers that make a curve
_MOST_CATEGORIES = 5  # with more, lines of single categories are hard to tell from each other
_FACTOR = 8.0  # between the ends of a scale that is logarithmic
_GAP = 0.3  # from the largest number to ALL, where the numbers span 1
_LETTER = 0.035  # of that span, with some room, at the least width of a plot


@dataclass(frozen=True)
class Tick:
    """A value of the axis as it is written, and its place: 0 is the least number, 1 the largest, ALL beyond."""

    place: float
    text: str


@dataclass(frozen=True)
class Line:
    """What the groups of a line share besides the axis, and for each tick its group's place in the study, if any."""

    name: str
    groups: tuple[int | None, ...]


@dataclass(frozen=True)
class Curves:
    """The lines along `axis`, a place in the study's axes; those whose first group has the best mean come first."""

    axis: int
    log: bool
    ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    metrics: tuple[str, ...]
    categories: tuple[str, ...]

    @property
    def apart(self) -> bool:
        """Whether the last tick is ALL, which has no place on the scale of numbers."""
        return self.ticks[-1].text == ALL

    def named(self) -> set[int]:
        """The ticks that there is room to name: the ends come first, then from left to right."""
        kept: list[int] = []
        last = len(self.ticks) - 1
        for place in (0, last, *range(1, last)):
            if all(_clear(self.ticks[place], self.ticks[other]) for other in kept):
                kept.append(place)
        return set(kept)


def curves(study: Study) -> Curves | None:
    """The curves of a study one of whose axes holds three or more numbers; null is a value of it too, and the last.

    None without such an axis, with several, or where no group has a value of METRICS; `reason` says which.
    """
    axes, metrics = _numeric(study), _measured(study)
    if len(axes) != 1 or not metrics:
        return None
    (axis,) = axes
    values = sorted({group.values[axis] for group in study.groups}, key=lambda text: (_number(text), text))
    numbers = [number for text in values if math.isfinite(number := _number(text))]
    log = numbers[0] > 0 and numbers[-1] >= _FACTOR * numbers[0]
    ticks = tuple(Tick(_place(_number(text), numbers[0], numbers[-1], log), _written(text)) for text in values)
    lines: dict[tuple[str, ...], dict[str, int]] = {}
    for place, group in enumerate(study.groups):
        others = group.values[:axis] + group.values[axis + 1 :]
        lines.setdefault(others, {})[group.values[axis]] = place
    joined = (Line(", ".join(others), tuple(map(found.get, values))) for others, found in lines.items())
    several = 1 < len(study.by_category) <= _MOST_CATEGORIES
    return Curves(axis, log, ticks, tuple(joined), metrics, tuple(study.by_category) if several else ())


def reason(study: Study) -> str:
    """Why there are no curves, without a full stop; empty where there are, or where no axis holds numbers."""
    names = [study.axes[axis] for axis in _numeric(study)]
    if len(names) > 1:
        listed = f"{', '.join(names[:-1])} and {names[-1]}"
        return f"no figure along a number: {listed} each hold three or more, and a curve follows only one"
    titles = " or ".join(METRIC[metric].title for metric in METRICS)
    return f"no figure along {names[0]}: no run has {titles}" if names and not _measured(study) else ""


def estimates(study: Study, line: Line, metric: str, category: str | None = None) -> list[Estimate | None]:
    """For each tick the study's own mean of the line's group there; None where there is no group."""
    row = (study.estimates if category is None else study.by_category[category])[metric]
    return [None if place is None else row[place] for place in line.groups]


def _numeric(study: Study) -> list[int]:
    """The places of the axes whose values are _FEWEST or more different numbers, or null."""
    found = []
    for axis in range(len(study.axes)):
        numbers = {_number(group.values[axis]) for group in study.groups}
        if not any(map(math.isnan, numbers)) and len(numbers - {math.inf}) >= _FEWEST:
            found.append(axis)
    return found


def _measured(study: Study) -> tuple[str, ...]:
    rows = {metric: study.estimates.get(metric, ()) for metric in METRICS}
    return tuple(metric for metric, row in rows.items() if any(estimate.value is not None for estimate in row))


def _number(text: str) -> float:
    """The value as a finite number, infinity for null, NaN for any other; a list of one number is that number."""
    if text.lower() == "null":
        return math.inf
    try:
        number = float(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan


def _written(text: str) -> str:
    return ALL if text.lower() == "null" else text


def _place(number: float, low: float, high: float, log: bool) -> float:
    """(x - low) / (high - low), of the logarithms on a scale of these; 1 + _GAP for null."""
    if number == math.inf:
        return 1.0 + _GAP
    return math.log(number / low) / math.log(high / low) if log else (number - low) / (high - low)


def _clear(one: Tick, other: Tick) -> bool:
    """Whether the names of both ticks fit side by side, with a letter between them."""
    return abs(one.place - other.place) >= _LETTER * ((len(one.text) + len(other.text)) / 2 + 1)
