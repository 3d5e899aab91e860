"""The study's tables as data for the page: each figure with the group, category and metric that it is of."""

from collections.abc import Sequence
from typing import Any

from diffect.reports.cells import WARNED, Cell, Table
from diffect.reports.study import Study
from diffect.runs import grid
from diffect.runs.grid import short
from diffect.runs.record import METRICS

_REFERENCE = "reference"  # a row that keeps its place below the others, however they are sorted
_METRICS = {metric.title: place for place, metric in enumerate(METRICS)}


def page_tables(study: Study) -> list[dict[str, Any]]:
    """All tables; groups, categories and metrics by their positions, or None."""
    places = _Places(study)
    return [_table(sheet, places) for sheet in study.tables]


class _Places:
    """Where the study's lists have what the labels of a row name."""

    def __init__(self, study: Study) -> None:
        self.axes = short(study.axes or ("study",))
        self.groups = {group.values or (study.name,): place for place, group in enumerate(study.groups)}
        self.categories = {name: place for place, name in enumerate(grid.categories(study.runs))}
        self.baseline = None if study.comparison is None else study.groups.index(study.comparison.baseline)


def _table(sheet: Table, places: _Places) -> dict[str, Any]:
    rows = [_row(sheet, row, places) for row in sheet.rows]
    columns = zip(sheet.header, _metrics(sheet), strict=True)
    return {
        "title": sheet.caption,  # the first one's own title heads the page
        "labels": sheet.labels,
        "columns": [{"title": title, "metric": metric} for title, metric in columns],
        "rows": rows,
        "rules": list(sheet.rules),
        # What has no row for the baseline is made of differences from it, and so of its runs too.
        "paired": places.baseline is not None and all(row["group"] != places.baseline for row in rows),
        "notes": list(sheet.notes),
    }


def _metrics(sheet: Table) -> list[int | None]:
    """Of each column the metric in its title, or that left of it: a p belongs to the difference before it."""
    found: list[int | None] = []
    for place, title in enumerate(sheet.header):
        known = _METRICS.get(title)
        found.append(found[-1] if known is None and place > sheet.labels else known)
    return found


def _row(sheet: Table, row: Sequence[str | Cell], places: _Places) -> dict[str, Any]:
    labels = dict(zip(sheet.header, map(str, row[: sheet.labels]), strict=False))
    group = places.groups.get(tuple(labels.get(axis, "") for axis in places.axes))
    return {
        "cells": [item if isinstance(item, str) else _cell(item) for item in row],
        "group": group,
        "category": places.categories.get(labels.get("category", "").removesuffix(WARNED)),
        "metric": _METRICS.get(labels.get("metric", "")),
        "foot": group is None and row[0] == _REFERENCE,
    }


def _cell(cell: Cell) -> dict[str, Any]:
    found = {"mean": cell.mean, "half": cell.spread.removeprefix("± "), "best": cell.best, "mark": cell.mark}
    return {name: value for name, value in found.items() if value}
