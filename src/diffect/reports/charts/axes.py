"""Which axis of a study has the colours, and which holds numbers, along which quality is drawn as a curve."""

import math
from dataclasses import dataclass
from typing import Any

from diffect.reports.study import Study
from diffect.runs.grid import Group

_FEWEST = 3  # numbers that make a curve
_FACTOR = 8.0  # between the ends of a scale that is logarithmic
_GAP = 0.3  # from the largest number to the place of null, where the numbers span 1


@dataclass(frozen=True)
class NumericAxis:
    """The one axis of a study that holds numbers: its place among the axes, and its values as numbers, ascending.

    null stands for all that there is: it comes last, at `all_at`, which is beyond the numbers and not on their scale.
    """

    axis: int
    numbers: tuple[float, ...]
    log: bool
    all_at: float | None

    def place(self, study: Study, group: Group) -> dict[str, Any]:
        """Where a group stands: x; the line that joins it to others; and how many holes this has before it.

        `tail` are the largest number and null, which a dotted line joins.
        """
        number = _number(group.values[self.axis])
        others = _without(group.values, self.axis)
        have = {
            _number(other.values[self.axis]) for other in study.groups if _without(other.values, self.axis) == others
        }
        is_all = number == math.inf
        tail = self.all_at is not None and number >= self.numbers[-1]
        holes = sum(value < number and value not in have for value in self.numbers)
        return {
            "x": self.all_at if is_all else number,
            "line": " ".join(", ".join(others).split()),
            "part": holes,
            "all": is_all,
            "tail": tail,
        }


def numeric_axis(study: Study) -> NumericAxis | None:
    """The only axis whose values are three or more different numbers, or null; None where there is none, or several."""
    axes = numeric_axes(study)
    if len(axes) != 1:
        return None
    values = {_number(group.values[axes[0]]) for group in study.groups}
    numbers = tuple(sorted(values - {math.inf}))
    low, high = numbers[0], numbers[-1]
    log = low > 0 and high >= _FACTOR * low
    beyond = high * (high / low) ** _GAP if log else high + _GAP * (high - low)
    return NumericAxis(axes[0], numbers, log, beyond if math.inf in values else None)


def numeric_axes(study: Study) -> list[int]:
    """The places of all axes whose values are three or more different numbers, or null."""
    found = []
    for axis in range(len(study.axes)):
        numbers = {_number(group.values[axis]) for group in study.groups}
        if not any(map(math.isnan, numbers)) and len(numbers - {math.inf}) >= _FEWEST:
            found.append(axis)
    return found


def leading(study: Study) -> int:
    """The axis that has the colours: that with the most values, less the one along which curves are drawn."""
    along = numeric_axis(study)
    axes = [axis for axis in range(len(study.axes)) if along is None or axis != along.axis] or [0]
    return max(axes, key=lambda axis: len({group.values[axis] for group in study.groups if group.values}))


def _without(values: tuple[str, ...], axis: int) -> tuple[str, ...]:
    return values[:axis] + values[axis + 1 :]


def _number(text: str) -> float:
    """The value as a finite number, infinity for null, NaN for any other; a list of one number is that number."""
    if text.lower() == "null":
        return math.inf
    try:
        number = float(text[1:-1] if text.startswith("[") and text.endswith("]") else text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
