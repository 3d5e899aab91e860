"""Lists, counts and other small phrases of the sentences in a report."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeVar

from diffect.reports.cells import METRIC
from diffect.runs.grid import Group
from diffect.runs.statistics import Estimate, Unit

_FEW = 6  # how many of a kind a note names

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


def listed(items: Sequence[str], most: int = 24) -> str:
    """ "a, b and c"; of very many the first, and how many more."""
    if len(items) > most:
        return f"{', '.join(items[:most])} and {len(items) - most} more"
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else "none"


def joined(names: Sequence[str]) -> str:
    """All names; those with commas of their own, as groups of several axes, in brackets."""
    return ", ".join(f"[{name}]" if "," in name else name for name in names)


def first_few(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = len(names) - _FEW
    return joined(names[:_FEW]) + (f" and {more} more" if more > 0 else "")


def grouped(pairs: Iterable[tuple[Key, Item]]) -> dict[Key, list[Item]]:
    """The second of each pair by the first, in the order of the pairs."""
    groups: dict[Key, list[Item]] = {}
    for key, item in pairs:
        groups.setdefault(key, []).append(item)
    return groups


def cell_name(group: Group, cell: Unit) -> str:
    """A run's place in the grid: "cosine eps brick seed 0"."""
    return " ".join([*group.values, cell[0], f"seed {cell[1]}"])


def missing_categories(labels: Sequence[str], estimates: Mapping[str, Sequence[Estimate]]) -> str:
    """Which categories the means of each group lack, by metric where these differ; the rows follow `labels`."""
    texts = []
    for place, label in enumerate(labels):
        known = (
            (row[place].missing, METRIC[metric].title)
            for metric, row in estimates.items()
            if row[place].value is not None
        )
        lacking = grouped(known)
        for missing, titles in lacking.items():
            where = f" ({', '.join(titles)})" if len(lacking) > 1 else ""
            texts += [f"{label} without {first_few(missing)}{where}"] if missing else []
    return "; ".join(texts)
