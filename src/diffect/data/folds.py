"""Folds of the normal images, cut by group, and the data as they are without one of them."""

import copy
from collections.abc import Sequence

from diffect.data.batches import Row
from diffect.data.datamodule import DataModule
from diffect.data.splits import Split

Group = tuple[int, str]  # the category's label, and the group's name in it


def originals(data: DataModule, split: Split) -> list[int]:
    """Positions of the images themselves, without the copies of them that training adds."""
    return [position for position, origin in enumerate(data.origins(split)) if position == origin]


def fewest_groups(data: DataModule, splits: Sequence[Split]) -> tuple[str, int]:
    """The category with the fewest groups of images in these splits, and how many it has."""
    groups = set(_groups(data, splits).values())
    counts = [sum(label == one for one, _ in groups) for label in range(len(data.categories))]
    return min(zip(data.categories, counts, strict=True), key=lambda pair: pair[1])


def without_folds(data: DataModule, splits: Sequence[Split], number: int) -> list[DataModule]:
    """The data without each of `number` folds of the images of some splits, which hold every image once.

    In each of them `fit` holds the images of the other folds with their copies, and `calibration` those of the fold,
    without copies. A group is never divided. Each fold holds images of every category, and folds are as equal in size
    as groups allow. ValueError for fewer than two folds, or for more than a category has groups.

    Args:
        data: with features attached.
        splits: whose images are cut into folds; the others stay as they are.
        number: of folds.
    """
    category, fewest = fewest_groups(data, splits)
    if not 2 <= number <= fewest:
        raise ValueError(
            f"{number} folds are asked for, and category {category} has {fewest} groups of normal images in "
            f"{' and '.join(splits)}: take from 2 folds to as many as there are groups"
        )
    groups, fold_of = _groups(data, splits), dict[Group, int]()
    for label in range(len(data.categories)):
        sizes = [0] * number
        members = [group for group in groups.values() if group[0] == label]
        for group in sorted(dict.fromkeys(members), key=members.count, reverse=True):
            fold = fold_of[group] = sizes.index(min(sizes))
            sizes[fold] += members.count(group)
    return [
        _without(data, splits, {row for row, group in groups.items() if fold_of[group] == fold})
        for fold in range(number)
    ]


def _groups(data: DataModule, splits: Sequence[Split]) -> dict[Row, Group]:
    """The group of each image, without copies, in order."""
    rows = [data.splits[split][position] for split in splits for position in originals(data, split)]
    return {(part, row): (data.parts[part].label, data.sample(part, row).group) for part, row in rows}


def _without(data: DataModule, splits: Sequence[Split], left_out: set[Row]) -> DataModule:
    """The data whose fit set is the images of these splits but for those left out, which are the calibration set."""
    fit, held = list[Row](), list[Row]()
    for split in splits:
        rows = data.splits[split]
        for row, origin in zip(rows, data.origins(split), strict=True):
            if rows[origin] not in left_out:
                fit.append(row)
            elif row == rows[origin]:
                held.append(row)
    view = copy.copy(data)
    view.splits = data.splits | {split: [] for split in splits} | {"fit": fit, "calibration": held}
    return view
