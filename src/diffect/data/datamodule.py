"""The Lightning DataModule: from a source to batches of features (or pixels), labels, masks and keys."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Sampler

from diffect.data import audit, decode, fingerprint, splits
from diffect.data.augmentation import Augmentation, as_kinds
from diffect.data.batches import Batch, Batches, Extract, Items, Part, Row, as_is
from diffect.data.canvas import choose_canvas
from diffect.data.contamination import Contamination
from diffect.data.derived import derive
from diffect.data.feature_store import open_features
from diffect.data.sample import Sample, Source
from diffect.data.sources.folders import choose_categories
from diffect.data.store import ImageStore
from diffect.data.summary import describe_category
from diffect.data.synthetic_store import Recipe, open_imagined
from diffect.storage.atomic import cache_root


class DataModule(pl.LightningDataModule):
    """One or many categories, cut into fit, selection, calibration and test.

    source: what holds the images. root: its folder, for the record. category: "all", one name or a list; the
    class label is the position in it. size, aspect, max_aspect: what all images are fitted into, see
    `canvas.choose_canvas`. shots: keep this many normal training images per category. selection, calibration,
    calibration_min: see `splits.RULE`. contamination, contamination_from: the share of these images that are replaced
    by defective ones, and where those come from; see `Contamination`. augment, augment_copies: what copies are made of
    each fit image, and how many, which join the fit set; see `Augmentation`. batches_per_epoch: training batches per
    epoch. cache: folder, None for `cache_root()`.
    """

    def __init__(
        self,
        source: Source,
        root: str | None = None,
        category: str | Iterable[str] = "all",
        size: int = 256,
        aspect: str = "pad",
        max_aspect: float = 4.0,
        shots: int | None = None,
        selection: float = 0.1,
        calibration: float = 0.1,
        calibration_min: int = 20,
        contamination: float = 0.0,
        contamination_from: str | None = None,
        augment: str | Iterable[str] = (),
        augment_copies: int = 0,
        batch_size: int = 16,
        eval_batch_size: int = 16,
        batches_per_epoch: int = 50,
        seed: int = 0,
        workers: int = 0,
        cache: str | None = None,
    ) -> None:
        super().__init__()
        self.source, self.root = source, root
        self.category = category if isinstance(category, str) else [str(name) for name in category]
        self.size, self.aspect, self.max_aspect, self.shots = size, aspect, max_aspect, shots
        self.selection, self.calibration, self.calibration_min = selection, calibration, calibration_min
        self.contamination, self.contamination_from = contamination, contamination_from
        self.augment, self.augment_copies = as_kinds(augment), augment_copies
        self.batch_size, self.eval_batch_size, self.batches_per_epoch = (
            batch_size,
            eval_batch_size,
            batches_per_epoch,
        )
        self.seed, self.workers = seed, workers
        self.cache = cache_root() if cache is None else Path(cache).expanduser()
        self.parts: list[Part] = []  # the categories' own images, then others made from them or brought in
        self.splits: dict[str, list[Row]] = {}  # rows of parts
        self.dropped: dict[str, list[Row]] = {}  # rows that once were in them
        self._categories: list[str] | None = None
        self._attached: tuple[str, Extract] | None = None

    @property
    def categories(self) -> list[str]:
        """The chosen categories; a class label is a position in this list."""
        if self._categories is None:
            self._categories = choose_categories(self.category, self.source.categories())
        return self._categories

    def setup(self, stage: str | None = None) -> None:
        """Scans, checks, decodes (or maps what was decoded before) and cuts the splits; once."""
        if self.parts:
            return
        self._check()
        samples = [self.source.samples(category) for category in self.categories]
        cut = self._cut(samples)
        augmentation = self._augmentation()
        sizes = (decode.size_of(sample.path) for held in samples for sample in held if sample.split == "train")
        canvas = choose_canvas(sizes, self.size, self.aspect, self.max_aspect)
        augmentation.check(canvas)
        own = [
            Part(index, ImageStore.open(held, canvas, self.aspect, self.cache), held)
            for index, held in enumerate(samples)
        ]
        parts, cut = self._dirt().spoil(own, cut, self.aspect, self.cache)
        if augmentation.copies:
            copies, rows = augmentation.of(cut["fit"], parts, len(parts), self.cache)
            parts, cut["fit"] = parts + copies, cut["fit"] + rows
        self.parts, self.splits = parts, cut

    def _cut(self, samples: list[list[Sample]]) -> dict[str, list[Row]]:
        """The rows of each split, of the categories' own images."""
        found: dict[str, list[Row]] = {"fit": [], "selection": [], "calibration": [], "test": []}
        for index, (category, held) in enumerate(zip(self.categories, samples, strict=True)):
            normal = [row for row, sample in enumerate(held) if sample.split == "train"]
            pieces = splits.cut(
                len(normal),
                category,
                self.seed,
                self.shots,
                self.selection,
                self.calibration,
                self.calibration_min,
            )
            for name, positions in pieces.items():
                found[name] += [(index, normal[position]) for position in positions]
            found["test"] += [(index, row) for row, sample in enumerate(held) if sample.split == "test"]
        return found

    def _dirt(self) -> Contamination:
        return Contamination(self.contamination, self.contamination_from, self.seed)

    def _augmentation(self) -> Augmentation:
        return Augmentation(self.augment, self.augment_copies, self.seed)

    def _check(self) -> None:
        for name, low in (
            ("batch_size", 1),
            ("eval_batch_size", 1),
            ("batches_per_epoch", 1),
            ("workers", 0),
        ):
            if getattr(self, name) < low:
                raise ValueError(f"data.{name}={getattr(self, name)} is not allowed; it must be {low} or more")
        self._dirt()  # which refuses a share or a folder that cannot be, before anything is decoded

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of all images, found from the training images."""
        self.setup()
        _, height, width, _ = self.parts[0].store.images.shape
        return height, width

    def attach(self, identity: str, extract: Extract) -> None:
        """Sets what `raw` is: extract(image (B, 3, H, W) uint8) -> (B, C, h, w) float32, frozen.

        With an `identity` (a name of the extractor and all its settings) the features of every image are
        computed once, in batches of one size, and kept on disk; with "" they are computed for each batch that
        is asked for.
        """
        self.setup()
        self._attached = identity, extract
        self.parts = [self._with_raw(part) for part in self.parts]

    def _with_raw(self, part: Part) -> Part:
        """The part, with what was attached: the features of all its images, or the extractor itself."""
        if self._attached is None:
            raise ValueError("DataModule.attach must be called before its loaders are asked for")
        identity, extract = self._attached
        if not identity:
            return replace(part, raw=extract)
        category = self.categories[part.label]
        return replace(
            part, raw=open_features(part.store, category, identity, extract, self.eval_batch_size, self.cache)
        )

    def train_dataloader(self) -> DataLoader[Batch]:
        """`batches_per_epoch` batches; which images they hold depends on (seed, epoch, step) alone."""
        labels = [self.parts[part].label for part, _ in self.splits["fit"]]
        groups = [[i for i, label in enumerate(labels) if label == index] for index in range(len(self.categories))]
        batches = Batches(groups, self.batch_size, self.batches_per_epoch, self.seed, self._epoch)
        return self._loader("fit", lean=True, batch_sampler=batches)

    def fit_dataloader(self) -> DataLoader[Batch]:
        """The fit set once, in order."""
        return self._loader("fit")

    def normal_dataloader(self, split: splits.Split, positions: Sequence[int] | None = None) -> DataLoader[Batch]:
        """A split of normal images, or those of its images that stand at these positions, in order."""
        rows = self.splits[split]
        return self._loads(rows if positions is None else [rows[position] for position in positions])

    def drop(self, split: splits.Split, positions: Iterable[int]) -> None:
        """Leave the images at these positions, with all copies, out of a split from now on; `describe` counts them."""
        rows = self.splits[split]
        stems = [self._stem(row) for row in rows]
        gone = {stems[position] for position in positions}
        both = list(zip(rows, stems, strict=True))
        self.dropped.setdefault(split, []).extend(row for row, stem in both if stem in gone)
        self.splits[split] = [row for row, stem in both if stem not in gone]

    def origins(self, split: splits.Split) -> list[int]:
        """For each position of a split its own, or that of the image which the copy there was made of."""
        where = {row: position for position, row in enumerate(self.splits[split])}
        return [where[self._stem(row)] for row in self.splits[split]]

    def _stem(self, row: Row) -> Row:
        """The row itself, or the one that it is a copy of."""
        origins = self.parts[row[0]].origins
        return origins[row[1]] if origins else row

    def val_dataloader(self) -> DataLoader[Batch]:
        """The selection set, in order."""
        return self._loader("selection")

    def calibration_dataloader(self) -> DataLoader[Batch]:
        """The calibration set, in order."""
        return self._loader("calibration")

    def test_dataloader(self) -> DataLoader[Batch]:
        """The test set, in order."""
        return self._loader("test")

    def synthetic(
        self, part: Literal["fit", "selection"], copies: int = 1, kinds: Iterable[str] = (), seed: int = 0
    ) -> DataLoader[Batch]:
        """`copies` of every image of a split of normal images, each with one synthetic defect; batches as in the test.

        A defect is a function of (seed, image, copy); see `imagined.Recipe`. `index` counts row by row, copy by copy.
        """
        if part not in ("fit", "selection"):
            raise ValueError(f"synthetic defects were asked for on {part!r}; allowed: fit, selection")
        self.setup()
        recipe = Recipe(copies, tuple(kinds), seed)

        def imagined(origin: Part, rows: list[int]) -> Part:
            store, samples = open_imagined(origin.store, origin.samples, rows, recipe, self.cache)
            return Part(origin.label, store, samples)

        made, rows = derive(self.splits[part], self.parts, recipe.copies, 0, imagined)
        return self._loads(rows, [self._with_raw(one) for one in made])

    def augmented(
        self,
        split: splits.Split,
        kinds: Iterable[str],
        copies: int,
        seed: int = 0,
        positions: Sequence[int] | None = None,
    ) -> DataLoader[Batch]:
        """`copies` of the images given for a split of normal images, or of those at these positions; image by image.

        Batches are as in the test. Copies are made as `data.augment` would make them, and are others than those: no
        training has seen them.
        """
        self.setup()
        augmentation = Augmentation(as_kinds(kinds), copies, seed, fresh=True)
        augmentation.check(self.canvas)
        rows = self.splits[split] if positions is None else [self.splits[split][position] for position in positions]
        made, rows = augmentation.of([row for row in rows if self._stem(row) == row], self.parts, 0, self.cache)
        return self._loads(rows, [self._with_raw(one) for one in made])

    def _epoch(self) -> int:
        return 0 if self.trainer is None else self.trainer.current_epoch

    def _loader(
        self, split: str, lean: bool = False, batch_sampler: Sampler[list[int]] | None = None
    ) -> DataLoader[Batch]:
        return self._loads(self.splits[split], lean=lean, batch_sampler=batch_sampler)

    def _loads(
        self,
        rows: Sequence[Row],
        parts: Sequence[Part] | None = None,
        lean: bool = False,
        batch_sampler: Sampler[list[int]] | None = None,
    ) -> DataLoader[Batch]:
        """A loader of rows of parts, the module's own if none are given."""
        if self._attached is None:
            raise ValueError("DataModule.attach must be called before its loaders are asked for")
        items = Items(rows, self.parts if parts is None else parts, lean)
        settings: dict[str, Any] = {
            "num_workers": self.workers,
            "collate_fn": as_is,
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": self.workers > 0,
        }
        if batch_sampler is not None:
            return DataLoader(items, batch_sampler=batch_sampler, **settings)
        return DataLoader(items, batch_size=self.eval_batch_size, shuffle=False, **settings)

    def sample(self, part: int, row: int) -> Sample:
        """The sample behind a row of a split; a category's position is that of its own part."""
        return self.parts[part].samples[row]

    def fingerprints(self) -> dict[str, str]:
        """What names the images of this data, for the record; needs no `setup`, see `fingerprint.fingerprints`."""
        dirt = fingerprint.brought(self.contamination, self.contamination_from)
        return fingerprint.fingerprints(self.source, self.categories, dirt)

    def audit(self) -> dict[str, dict[str, Any]]:
        """Per category: images shared between train and test, and what trivial statistics alone achieve."""
        self.setup()
        own = zip(self.categories, self.parts, strict=False)
        return {category: audit.audit(part.samples, part.store) for category, part in own}

    def describe(self) -> dict[str, Any]:
        """What the data is, for the record: the rule of the splits in words, and counts per category."""
        self.setup()
        return {
            "rule": splits.RULE.format(
                selection=self.selection, calibration=self.calibration, calibration_min=self.calibration_min
            ),
            "root": self.root,
            "seed": self.seed,
            "shots": self.shots,
            "size": self.size,
            "aspect": self.aspect,
            "canvas": list(self.canvas),  # height, width
            **self._dirt().describe(),
            **({"augment": list(self._augmentation().kinds)} if self.augment_copies else {}),
            "categories": {
                category: describe_category(index, self.parts, self.splits, self.dropped, bool(self.contamination))
                for index, category in enumerate(self.categories)
            },
        }
