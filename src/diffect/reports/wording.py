"""Lists, counts and other small phrases of the sentences in a report."""

from collections.abc import Mapping, Sequence

from diffect.reports.cells import METRIC
from diffect.runs.statistics import Estimate

_FEW = 6  # how many of a kind a note names


def counted(count: int, one: str, many: str | None = None) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{count} {one if count == 1 else many or one + 's'}"


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


def missing_categories(labels: Sequence[str], estimates: Mapping[str, Sequence[Estimate]]) -> str:
    """Which categories the means of each group lack, by metric where these differ; the rows follow `labels`."""
    texts = []
    for place, label in enumerate(labels):
        lacking: dict[tuple[str, ...], list[str]] = {}
        for metric, row in estimates.items():
            if row[place].value is not None:
                lacking.setdefault(row[place].missing, []).append(METRIC[metric].title)
        for missing, titles in lacking.items():
            where = f" ({', '.join(titles)})" if len(lacking) > 1 else ""
            texts += [f"{label} without {first_few(missing)}{where}"] if missing else []
    return "; ".join(texts)
