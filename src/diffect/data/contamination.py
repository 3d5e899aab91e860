"""Training data that nobody has checked: some samples that are taken for normal are defective."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from diffect.data import splits
from diffect.data.batches import Part, Row
from diffect.data.copies import Recipe, open_synthetic
from diffect.data.decode import Depth
from diffect.data.regions import Regions
from diffect.data.sample import IMAGE
from diffect.data.sources.defect_folder import TEST, DefectFolder
from diffect.data.store import open_samples

MOST = 0.5  # of the samples; beyond it the defects would be the normal state


@dataclass(frozen=True)
class Contamination:
    """Replaces round(share n) of each category's n normal training samples by defective ones, in whatever split.

    Args:
        share: of the normal training samples, from 0 to 0.5.
        folder: None puts a synthetic defect on each of the replaced images. `test` draws from whole groups of test
            samples with up to half of the defects of each type. These groups are held out of the test set, the same
            ones for every share: training and test then have defects of the same types, but no group in common. Else
            defective images come from FOLDER/<category>, or from FOLDER where there is none.
        seed: chooses the samples, with the category. Those replaced at one share are replaced at every larger one;
            fit, selection and calibration are contaminated alike.
        regions: that are looked at, also in images from the folder.
    """

    share: float
    folder: str | None
    seed: int
    regions: Regions = field(default_factory=Regions)

    def __post_init__(self) -> None:
        if self.folder not in (None, TEST) and not Path(self.folder).expanduser().is_dir():
            raise ValueError(
                f"data.contamination_from={self.folder} is not a folder; it must hold defective images, or a folder of "
                f"them for each category, or be {TEST} for half of the test defects, or null for synthetic defects"
            )

    @property
    def defects(self) -> DefectFolder | None:
        """The folder that defective images come from, where they do."""
        return DefectFolder.of(self.share, self.folder)

    def apply(
        self,
        parts: Sequence[Part],
        cut: Mapping[str, list[Row]],
        aspect: str,
        cache: Path,
        depth: Callable[[str], Depth],
    ) -> tuple[list[Part], dict[str, list[Row]]]:
        """The source's parts followed by one of defective samples for each category, and the splits over both.

        `depth` says of a category how its images of more than 8 bits are read.
        ValueError where the share is less than one sample, or where the folder holds too few images or images of the
        test set.
        """
        made, swaps, held_out = list(parts), dict[Row, Row](), set[Row]()
        for label, part in enumerate(parts):
            if self.folder == TEST:
                held_out |= {(label, row) for row in self.held_out(part)}
            used = {row: name for name, rows in cut.items() if name != "test" for index, row in rows if index == label}
            order = [row for row in self._order(part) if row in used]
            count = self._count(part.samples[0].category, len(order))
            if not count:
                continue
            if self.folder is None:
                # All that any share could need, so that all shares have one store, and its features, in common.
                defective, rows = self._synthetic(part, order[: round(MOST * len(order))], cache), list(range(count))
            elif self.folder == TEST:
                defective, rows = self._from_test(part, [used[row] for row in order[:count]], len(order))
            else:
                defective, rows = self._from_folder(part, count, len(order), aspect, cache, depth)
            swaps |= {(label, row): (len(made), other) for row, other in zip(order[:count], rows, strict=True)}
            made.append(defective)
        return made, {name: [swaps.get(row, row) for row in rows if row not in held_out] for name, rows in cut.items()}

    def summary(self) -> dict[str, Any]:
        """The share and where the defective samples come from, for the record; empty where nothing is changed."""
        if not self.share and self.folder != TEST:
            return {}
        known = {
            None: "synthetic defects on the very images",
            TEST: "up to half of the test defects of each kind, held out of the test set in whole groups",
        }
        return {"contamination": self.share, "contamination_from": known.get(self.folder, self.folder)}

    def describe(self) -> str:
        """What share is replaced, and by what; empty where nothing is."""
        half = "up to half of the test defects of each kind"
        if not self.share:
            return f"none is replaced by a defective one; {half} are held out of the test set" if self.folder else ""
        origin = {
            None: "the same images with synthetic defects",
            TEST: f"from {half}, which are held out of the test set",
        }.get(self.folder, "images of a folder of their own")
        return f"{100 * self.share:g}% are replaced by defective ones that nothing tells apart: {origin}"

    def held_out(self, part: Part) -> list[int]:
        """The test rows of groups that hold at most half, rounded down, of each type of defect, in random order."""
        groups: dict[str, list[int]] = {}
        for row, sample in enumerate(part.samples):
            if sample.split == "test":
                groups.setdefault(sample.group, []).append(row)

        def defects(rows: Iterable[int]) -> Counter[str]:
            return Counter(part.samples[row].defect for row in rows if part.samples[row].anomalous)

        room = Counter({defect: count // 2 for defect, count in defects(range(len(part.samples))).items()})
        rng = splits.generator(self.seed, part.samples[0].category, "held out")
        held_out: list[int] = []
        for group in rng.permutation(sorted(groups)).tolist():
            held = defects(groups[group])
            if held and held <= room:
                room -= held
                held_out += groups[group]
        return [int(row) for row in rng.permutation(held_out)]

    def _count(self, category: str, of: int) -> int:
        """How many of a category's samples are replaced; ValueError where a share above 0 replaces none."""
        count = round(self.share * of)
        if self.share and not count:
            least = 0.5 / of
            allowed = f"0, or more than {least:.4g}" if least < MOST else "0"
            raise ValueError(
                f"data.contamination={self.share:g} rounds to 0 of the {of} training images of {category}; it must be "
                f"{allowed}"
            )
        return count

    def _order(self, part: Part) -> list[int]:
        """All normal rows of a category, in the order in which they are replaced."""
        normal = [row for row, sample in enumerate(part.samples) if sample.split == "train"]
        shuffled = splits.generator(self.seed, part.samples[0].category, "replaced").permutation(len(normal))
        return [normal[position] for position in shuffled]

    def _synthetic(self, part: Part, rows: list[int], cache: Path) -> Part:
        """The part of these images with synthetic defects, none of which a head or a search draws from this seed."""
        seed = int(splits.generator(self.seed, part.samples[0].category, "defects").integers(2**63))
        return replace(open_synthetic(part, rows, Recipe(seed=seed), cache), mislabelled=True)

    def _from_test(self, part: Part, wanted: Sequence[str], of: int) -> tuple[Part, list[int]]:
        """The part with its defective samples labelled normal, and one of their rows for each split that wants one.

        No two splits get samples of one group; a split uses up a group before it takes another.
        """
        left = [row for row in self.held_out(part) if part.samples[row].anomalous]
        rows, owner = list[int](), dict[str, str]()
        for split in wanted:
            free = [row for row in left if owner.get(part.samples[row].group, split) == split]
            if not free:
                break
            row = min(free, key=lambda row: part.samples[row].group not in owner)  # the first of those
            owner[part.samples[row].group] = split
            left.remove(row)
            rows.append(row)
        self._require(part.samples[0].category, len(wanted), of, len(rows))
        return replace(part, mislabelled=True), rows

    def _from_folder(
        self, part: Part, count: int, of: int, aspect: str, cache: Path, depth: Callable[[str], Depth]
    ) -> tuple[Part, list[int]]:
        """The part of all images that the folder holds for a category, and the rows of those that are taken."""
        category = part.samples[0].category
        assert self.defects is not None
        found = self.defects.samples(category, depth(category))  # of the category's own images
        samples = list(map(self.regions.apply, found))
        self._require(category, count, of, len(samples))
        store = open_samples(samples, IMAGE, part.store.size, aspect, cache)
        tested = {int(part.store.keys[row]) for row, sample in enumerate(part.samples) if sample.split == "test"}
        shared = [sample.name for sample, key in zip(samples, store.keys, strict=True) if int(key) in tested]
        if shared:
            raise ValueError(
                f"data.contamination_from={self.folder} holds {len(shared)} images that are also in the test set of "
                f"{category}, first {shared[0]}: an image cannot be used for both; remove these from one, or "
                f"set data.contamination_from={TEST}"
            )
        order = splits.generator(self.seed, category, "brought").permutation(len(samples))
        return Part(part.label, store, samples, mislabelled=True), order[:count].tolist()

    def _require(self, category: str, count: int, of: int, available: int) -> None:
        if count > available:
            raise ValueError(
                f"data.contamination={self.share:g} replaces {count} of the {of} normal images of {category} by "
                f"defective ones, but data.contamination_from={self.folder} holds {available} for it"
            )
