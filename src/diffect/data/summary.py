"""What the record says about a category: how many images there are, of what kind, and what to know about them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from diffect.data import decode
from diffect.data.batches import Part, Row
from diffect.data.sample import Sample
from diffect.data.store import ImageStore

Rows = Sequence[Row]


def describe_category(
    label: int,
    parts: Sequence[Part],
    splits: Mapping[str, Rows],
    dropped: Mapping[str, Rows],
    contaminated: bool = False,
) -> dict[str, Any]:
    """Counts of one category's images: in its folder, in each split, dropped from them, by defect; and notes.

    Masks, defects and notes are of the images that are tested, not of those that are held out of the test.
    Copies of fit images are counted by themselves and nowhere else.
    """
    samples, store = parts[label].samples, parts[label].store
    gone = {name: _count(label, parts, rows) for name, rows in dropped.items()}
    copies = sum(parts[part].label == label and bool(parts[part].origins) for part, _ in splits["fit"])
    tested = [row for part, row in splits["test"] if part == label]
    return {
        "train": sum(sample.split == "train" for sample in samples),
        **{name: _count(label, parts, rows) for name, rows in splits.items()},
        **({"copies": copies} if copies else {}),
        **({"dropped": gone} if gone else {}),
        **(_dirt(label, parts, splits, dropped) if contaminated else {}),
        "defects": dict(Counter(samples[row].defect for row in tested)),
        "masks": sum(samples[row].mask is not None for row in tested),
        "grey_bits": decode.grey_bits([sample.path for sample in samples if sample.split == "train"]),
        "notes": _notes(samples, store, tested),
    }


def _count(label: int, parts: Sequence[Part], rows: Rows) -> int:
    return sum(parts[part].label == label and not parts[part].origins for part, _ in rows)


def _dirt(
    label: int, parts: Sequence[Part], splits: Mapping[str, Rows], dropped: Mapping[str, Rows]
) -> dict[str, dict[str, int]]:
    """How many images of each split of normal images are defective, and how many of those dropped were."""
    brought = [place for place, part in enumerate(parts) if part.unnoticed and part.label == label and not part.origins]

    def count(rows: Rows) -> int:
        return sum(part in brought for part, _ in rows)

    found = {"dirty": {name: count(rows) for name, rows in splits.items() if name != "test"}}
    return found | ({"dropped_dirty": {name: count(rows) for name, rows in dropped.items()}} if dropped else {})


def _notes(samples: list[Sample], store: ImageStore, tested: list[int]) -> list[str]:
    """What a reader of the record should know about a category, whose test images are at these rows."""
    notes = []
    defective = [row for row in tested if samples[row].anomalous]
    if not defective:
        notes.append("no defective test images: no detection metrics")
    if len(defective) == len(tested):
        notes.append("no normal test images: no detection metrics")
    unmasked = sum(not store.has_mask[row] for row in defective)
    if unmasked:
        notes.append(f"{unmasked} defective images have no mask: image metrics only")
    empty = sum(bool(store.has_mask[row]) and not store.masks[row].any() for row in defective)
    if empty:
        notes.append(f"{empty} defective images have no masked pixel left at this size")
    return notes
