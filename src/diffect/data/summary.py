"""What the record says about a category: counts of its samples, and notes."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from diffect.config.description import counted
from diffect.data import decode
from diffect.data.batches import Part, Row
from diffect.data.sample import Sample, Source
from diffect.data.sources.folders import remarks
from diffect.data.store import Store

Rows = Sequence[Row]

FEW = 10  # groups of normal images; with fewer, one or two are held out, and an unusual one decides
NEARLY_ALL = 0.95  # of an image: a mask that covers so much may be the wrong way round


def describe_category(
    label: int,
    parts: Sequence[Part],
    splits: Mapping[str, Rows],
    dropped: Mapping[str, Rows],
    source: Source,
    contaminated: bool = False,
) -> dict[str, Any]:
    """Counts of one category's samples: in the source, in each split, removed as outliers, by defect; of groups in
    all and in each split; of files that are ignored; and notes.

    Masks, defects and notes are of the samples that are tested, not of those held out of the test. Copies of fit
    images are counted under `copies` and nowhere else.
    """
    samples, store = parts[label].samples, parts[label].store
    ignored, depth = source.ignored(samples[0].category), source.depth(samples[0].category)
    gone = {name: _count(label, parts, rows) for name, rows in dropped.items()}
    copies = sum(parts[part].label == label and bool(parts[part].origins) for part, _ in splits["fit"])
    added = sum(len(part.samples) for part in parts if part.label == label and part.added)
    tested = [row for part, row in splits["test"] if part == label]
    groups = {name: _groups(label, parts, rows) for name, rows in splits.items()}
    counts = {name: _count(label, parts, rows) for name, rows in splits.items()}
    return {
        "train": sum(sample.split == "train" for sample in samples),
        **counts,
        **({"added": added} if added else {}),
        **({"copies": copies} if copies else {}),
        **({"dropped": gone} if gone else {}),
        **(_contaminated(label, parts, splits, dropped) if contaminated else {}),
        "defects": dict(Counter(samples[row].defect for row in tested)),
        "masks": sum(samples[row].load_mask is not None for row in tested),
        "groups": len({sample.group for sample in samples}),
        "split_groups": {name: len(held) for name, held in groups.items()},
        "grey_bits": depth.bits,
        **({"value_range": depth.value_range} if depth.value_range else {}),
        **({"ignored": {reason: len(names) for reason, names in ignored.items()}} if ignored else {}),
        "notes": _notes(samples, store, tested) + _group_notes(groups, counts) + remarks(ignored),
    }


def _groups(label: int, parts: Sequence[Part], rows: Rows) -> set[str]:
    """The groups of one category's samples in a split."""
    return {parts[part].samples[row].group for part, row in rows if parts[part].label == label}


def _count(label: int, parts: Sequence[Part], rows: Rows) -> int:
    return sum(parts[part].label == label and not parts[part].origins for part, _ in rows)


def _contaminated(
    label: int, parts: Sequence[Part], splits: Mapping[str, Rows], dropped: Mapping[str, Rows]
) -> dict[str, dict[str, int]]:
    """How many samples of each split of normal samples are defective, and how many of those removed were."""
    defective = [
        place for place, part in enumerate(parts) if part.mislabelled and part.label == label and not part.origins
    ]

    def count(rows: Rows) -> int:
        return sum(part in defective for part, _ in rows)

    counts = {"contaminated": {name: count(rows) for name, rows in splits.items() if name != "test"}}
    return counts | ({"dropped_contaminated": {name: count(rows) for name, rows in dropped.items()}} if dropped else {})


def _group_notes(groups: Mapping[str, set[str]], counts: Mapping[str, int]) -> list[str]:
    """What a reader should know about the groups of each split."""
    notes = []
    normal = {name: len(groups[name]) for name in ("fit", "selection", "calibration")}
    if sum(normal.values()) < min(FEW, sum(counts[name] for name in normal)) and normal["selection"]:
        held = ", ".join(f"{name} {number}" for name, number in normal.items())
        notes.append(
            f"only {sum(normal.values())} groups of normal training images ({held}; see data.groups): what is chosen "
            "and promised on so few may not hold for another group"
        )
    known = groups["fit"] | groups["selection"] | groups["calibration"]
    if shared := sorted(groups["test"] & known):
        notes.append(f"{counted(len(shared), 'group')} of the test images, such as {shared[0]}, are also in train")
    return notes


def _notes(samples: list[Sample], store: Store, tested: list[int]) -> list[str]:
    """What a reader of the record should know about a category with test samples at these rows."""
    notes = []
    if deep := [sample.name for sample in samples if sample.path is not None and sample.name.count("/") > 2]:
        notes.append(f"{counted(len(deep), 'image')} read from subfolders, such as {deep[0]}")
    defective = [row for row in tested if samples[row].anomalous]
    if not tested:
        notes.append("no test images: nothing is tested")
    elif len(defective) in (0, len(tested)):
        notes.append(f"no {'normal' if defective else 'defective'} test images: no detection metrics")
    unmasked = sum(not store.has_mask[row] for row in defective)
    if unmasked:
        notes.append(f"{counted(unmasked, 'defective image')} without a mask: image metrics only")
    shares = {row: (store.content(row)[1] == 1).mean() for row in defective if store.has_mask[row]}
    empty = [row for row, share in shares.items() if share == 0]
    if empty:
        notes.append(f"{counted(len(empty), 'defective image')} without a masked pixel at this size: raise data.size")
    wide = [row for row, share in shares.items() if share >= NEARLY_ALL]
    if wide:
        notes.append(
            f"{counted(len(wide), 'mask')} of {NEARLY_ALL:.0%} of the image or more, first that of "
            f"{samples[wide[0]].name}: if white surrounds the defect, invert the masks"
        )
    hidden = [path for row in empty + wide for path in samples[row].mask_paths if decode.hides_in_alpha(path)]
    if hidden:
        notes.append(
            f"{counted(len(hidden), 'mask')} of one colour with varying transparency, first {hidden[0]}: if the mask "
            "is in the alpha channel, save it as a grey picture"
        )
    return notes
