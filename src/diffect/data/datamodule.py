"""The Lightning DataModule: from a source to batches of features, labels, masks and content keys."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, Literal

import pytorch_lightning as pl
import torch
from annotated_types import Interval
from torch import Tensor
from torch.utils.data import Sampler

from diffect.config.check import checked
from diffect.config.types import Display, Names, NonNegativeInt, Place, PositiveInt, Text, as_list
from diffect.data import audit
from diffect.data.added import AddedFolder
from diffect.data.augmentation import Augmentation
from diffect.data.batches import Batches, Items, Loader, Part, Row, zeros
from diffect.data.canvas import Aspect, common_size
from diffect.data.contamination import Contamination
from diffect.data.copies import Recipe
from diffect.data.duplicates import thumbnails
from diffect.data.features import open_features
from diffect.data.grouping import AUTO, Grouping
from diffect.data.regions import Region, Regions
from diffect.data.sample import Kind, Sample, Source, data_fingerprint
from diffect.data.sources.defect_folder import TEST
from diffect.data.sources.folders import choose_categories
from diffect.data.splits import Cut, Split, SplitShare
from diffect.data.store import open_samples
from diffect.data.summary import describe_category
from diffect.data.tiles import Tiles
from diffect.storage.caches import cache_root


@checked
class DataModule(pl.LightningDataModule):
    """One or many categories, cut into fit, selection, calibration and test.

    Args:
        source: holds the samples.
        root: the source's folder, for the record.
        category: "all", one name or a list; the class label is the position in it.
        size, aspect, max_aspect, multiple: the canvas that all images are fitted into, see `canvas.choose_canvas`.
        look_at, ignore: the part of each photograph that is learned and scored, see `Regions`.
        tiles: that images are cut into, None for none.
        groups: which samples must stay in one split, see `Grouping`.
        shots, selection, calibration, calibration_min: of the splits, see `Cut`.
        added: a folder of normal images, or of one folder for each category, that join those of the source. They are
            cut by the same rule, and leave the splits of the others as they are.
        contamination, contamination_from: the share of normal training samples that are replaced by defective ones,
            and where those come from, see `Contamination`.
        augment, augment_copies: kinds and number of the copies of each fit image, which join the fit set, see
            `Augmentation`.
        batch_size, eval_batch_size: samples in a training batch, and in any other.
        batches_per_epoch: training batches per epoch.
        seed: of splits, batches, contamination and augmentation.
        workers: processes that load batches.
        cache: folder of decoded samples and features, None for `cache_root()`.
    """

    def __init__(
        self,
        source: Source,
        root: Place[str | None] = None,
        category: Names = "all",
        size: Annotated[int, Interval(ge=16, le=4096)] = 256,
        aspect: Aspect = "pad",
        max_aspect: Annotated[float, Interval(ge=1, le=64)] = 4.0,
        multiple: PositiveInt = 32,
        look_at: Region = None,
        ignore: Region = None,
        tiles: Tiles | None = None,
        groups: Text[str] = AUTO,
        shots: PositiveInt | None = None,
        selection: SplitShare = 0.1,
        calibration: SplitShare = 0.1,
        calibration_min: NonNegativeInt = 20,
        added: Text[str | None] = None,
        contamination: Annotated[float, Interval(ge=0, le=0.5)] = 0.0,
        contamination_from: Text[str | None] = None,
        augment: Names = (),
        augment_copies: NonNegativeInt = 0,
        batch_size: PositiveInt = 16,
        eval_batch_size: PositiveInt = 16,
        batches_per_epoch: PositiveInt = 50,
        seed: NonNegativeInt = 0,
        workers: Display[NonNegativeInt] = 0,
        cache: Place[str | None] = None,
    ) -> None:
        super().__init__()
        if not isinstance(source, Source):
            raise ValueError(f"data.source is a {type(source).__name__}; it must inherit diffect.data.sample.Source")
        self.source, self.root = source, root
        self.category = category
        self.size, self.aspect, self.max_aspect, self.multiple = size, aspect, max_aspect, multiple
        self.grouping = Grouping(groups)
        self.cut = Cut(seed, shots, selection, calibration, calibration_min)
        self.tiles = Tiles() if tiles is None else tiles
        self.regions = Regions(look_at, ignore).check()
        self.added = AddedFolder.of(added)
        self.contamination = Contamination(contamination, contamination_from, seed, self.regions)
        self.augmentation = Augmentation(as_list(augment), augment_copies, seed)
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.batches_per_epoch, self.seed, self.workers = batches_per_epoch, seed, workers
        self.cache = cache_root() if cache is None else Path(cache).expanduser()
        self.parts: list[Part] = []  # one of each category's own samples, then contamination and copies
        self.splits: dict[str, list[Row]] = {}  # rows of parts
        self.dropped: dict[str, list[Row]] = {}  # rows that were removed from the splits
        self._attached: tuple[str, Callable[[Tensor], Tensor]] | None = None

    @cached_property
    def categories(self) -> list[str]:
        """The chosen categories; a class label is a position in this list."""
        return choose_categories(self.category, self.source.categories())

    def setup(self, stage: str | None = None) -> None:
        """Scans, checks, decodes (or maps what was decoded before) and cuts the splits; once."""
        if self.parts:
            return
        self._check()
        samples = [self.source.samples(category) for category in self.categories]
        training = [sample for category in samples for sample in category if sample.split == "train"]
        size = common_size(training, self.kind, self.size, self.aspect, self.max_aspect, self.multiple)
        self.augmentation.check(size)
        self.tiles.shape(size)
        parts = [self._part(label, of_category, size) for label, of_category in enumerate(samples)]
        rows = self.cut.rows([part.samples for part in parts])
        parts, rows = self.contamination.apply(parts, rows, self.aspect, self.cache, self.source.depth)
        if self.added is not None:
            parts, rows = self.added.join(parts, rows, self.source.depth, partial(self._part, size=size), self.cut)
        if self.augmentation.copies:
            made, copies = self.augmentation.apply(rows["fit"], parts, len(parts), self.cache)
            parts, rows["fit"] = parts + made, rows["fit"] + copies
        self.parts, self.splits = parts, rows

    def _part(self, label: int, samples: Sequence[Sample], size: tuple[int, ...]) -> Part:
        """The part of samples of one category, with their groups."""
        samples = list(map(self.regions.apply, samples))
        store = open_samples(samples, self.kind, size, self.aspect, self.cache)
        return Part(label, store, self.grouping.apply(samples, store, self.kind, self.cache))

    def _check(self) -> None:
        if self.regions:
            self._check_pictures("data.look_at or data.ignore")
        if self.added is not None:
            self._check_pictures("data.added")
        if self.augmentation.copies:
            self._check_pictures("data.augment_copies")
        if self.contamination.share and self.contamination.folder != TEST:
            self._check_pictures(f"data.contamination_from={self.contamination.folder or 'null'}")

    def _check_pictures(self, key: str) -> None:
        if not self.kind.drawable:
            raise ValueError(f"{key} works on images only, and the samples of this source are of kind {self.kind.name}")

    @property
    def kind(self) -> Kind:
        """What all samples of the source have in common."""
        return self.source.kind

    @property
    def canvas(self) -> tuple[int, ...]:
        """The spatial size of all samples; height and width of images."""
        self.setup()
        return self.parts[0].store.size

    def blank(self) -> Tensor:
        """A sample of zeros as a batch (1, C, *size), of the source's dtype."""
        return zeros(self.kind, self.canvas)

    def attach(self, identity: str, extract: Callable[[Tensor], Tensor]) -> None:
        """Sets how `raw` is computed: extract(image (B, C, *size)) -> (B, C', *grid) float32, frozen.

        With an `identity` (a name of the extractor and all its settings) the features of every sample are
        computed once, in batches of one size, and kept on disk; with "" they are computed batch by batch.
        """
        self.setup()
        self._attached = identity, extract
        self.parts = [self._with_raw(part) for part in self.parts]

    def _with_raw(self, part: Part) -> Part:
        """The part with the features of all its samples, or with the extractor itself."""
        if self._attached is None:
            raise ValueError("DataModule.attach must be called before its loaders")
        identity, whole = self._attached
        extract = partial(self.tiles.extract, whole)
        if not identity:
            return replace(part, raw=extract)
        category, name, size = self.categories[part.label], f"{identity}{self.tiles.name}", self._eval_batch_size
        raw = open_features(part.store, category, name, extract, size, self.cache, tiled=bool(self.tiles))
        return replace(part, raw=raw)

    @property
    def _eval_batch_size(self) -> int:
        """Fewer images where each has many tiles, so that as much is in memory."""
        return max(1, self.eval_batch_size // self.tiles.count(self.canvas))

    def train_dataloader(self) -> Loader:
        """`batches_per_epoch` batches; the samples in them depend on (seed, epoch, step) alone."""
        tiles = self.tiles.count(self.canvas)
        labels = [self.parts[part].label for part, _ in self.splits["fit"] for _ in range(tiles)]
        groups = [[i for i, label in enumerate(labels) if label == index] for index in range(len(self.categories))]
        trainer = self.trainer
        epoch = (lambda: 0) if trainer is None else lambda: trainer.current_epoch
        batches = Batches(groups, self.batch_size, self.batches_per_epoch, self.seed, epoch)
        return self._rows_loader(self.splits["fit"], lean=True, batch_sampler=batches)

    def fit_features(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Features (B, C, *grid) and labels (B,) of the fit set, what a representation is fitted to."""
        return ((batch["raw"], batch["label"]) for batch in map(self.tiles.apart, self.fit_dataloader()))

    def fit_dataloader(self) -> Loader:
        """The fit set once, in order."""
        return self._rows_loader(self.splits["fit"])

    def normal_dataloader(self, split: Split, positions: Sequence[int] | None = None) -> Loader:
        """A split of normal samples, or its samples at these positions, in order."""
        rows = self.splits[split]
        return self._rows_loader(rows if positions is None else [rows[position] for position in positions])

    def drop(self, split: Split, positions: Iterable[int]) -> None:
        """Remove the samples at these positions, with all their copies, from a split; `summary` counts them."""
        originals = [self._original(row) for row in self.splits[split]]
        removed = {originals[position] for position in positions}
        pairs = list(zip(self.splits[split], originals, strict=True))
        self.dropped.setdefault(split, []).extend(row for row, original in pairs if original in removed)
        self.splits[split] = [row for row, original in pairs if original not in removed]

    def origins(self, split: Split) -> list[int]:
        """For each position of a split the position of the original: a copy's is that of the sample it was made of."""
        where = {row: position for position, row in enumerate(self.splits[split])}
        return [where[self._original(row)] for row in self.splits[split]]

    def _original(self, row: Row) -> Row:
        """The row itself, or the one that it is a copy of."""
        origins = self.parts[row[0]].origins
        return origins[row[1]] if origins else row

    def val_dataloader(self) -> Loader:
        """The selection set, in order."""
        return self._rows_loader(self.splits["selection"])

    def test_dataloader(self) -> Loader:
        """The test set, in order."""
        return self._rows_loader(self.splits["test"])

    def synthetic(
        self, split: Literal["fit", "selection"], copies: int = 1, kinds: Iterable[str] = (), seed: int = 0
    ) -> Loader:
        """`copies` of every image of a split, each with one synthetic defect; batches as in the test.

        A defect is a function of (seed, image, copy); see `copies.Recipe`. `index` counts row by row, copy by copy.
        """
        if split not in ("fit", "selection"):
            raise ValueError(f"synthetic defects can be drawn on the splits fit and selection, not on {split!r}")
        self._check_pictures("a synthetic defect")
        self.setup()
        recipe = Recipe(copies, tuple(kinds), seed)
        made, rows = recipe.apply(self.splits[split], self.parts, 0, self.cache)
        return self._rows_loader(rows, [self._with_raw(one) for one in made])

    def augmented(
        self, split: Split, kinds: Iterable[str], copies: int, seed: int = 0, positions: Sequence[int] | None = None
    ) -> Loader:
        """`copies` of the original images of a split, or of those at these positions, image by image.

        Batches are as in the test. The copies are made as by `data.augment`, but none of them was trained on.
        """
        self._check_pictures("augmentation")
        self.setup()
        augmentation = Augmentation(as_list(kinds), copies, seed, fresh=True)
        augmentation.check(self.canvas)
        rows = self.splits[split] if positions is None else [self.splits[split][position] for position in positions]
        originals = [row for row in rows if self._original(row) == row]
        made, rows = augmentation.apply(originals, self.parts, 0, self.cache)
        return self._rows_loader(rows, [self._with_raw(one) for one in made])

    def _rows_loader(
        self,
        rows: Sequence[Row],
        parts: Sequence[Part] | None = None,
        lean: bool = False,
        batch_sampler: Sampler[list[int]] | None = None,
    ) -> Loader:
        """A loader of rows of parts, by default those of the module."""
        if self._attached is None:
            raise ValueError("DataModule.attach must be called before its loaders")
        tiles = self.tiles.count(self.canvas) if lean else 1
        items = Items(rows, self.parts if parts is None else parts, lean, tiles)
        return Loader(
            items,
            batch_sampler=batch_sampler,
            batch_size=self._eval_batch_size if batch_sampler is None else 1,
            num_workers=self.workers,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.workers > 0,
        )

    def sample(self, part: int, row: int) -> Sample:
        """The sample behind a row of a split; a category's position is that of its own part."""
        return self.parts[part].samples[row]

    def fingerprints(self) -> dict[str, str]:
        """Hex SHA-256 over the categories and their contents, and another one over the contamination's images, if any.

        Needs no `setup`. Runs that agree in the first are tested on the same samples.
        """
        sources = {"fingerprint": self.source, "contamination_fingerprint": self.contamination.defects}
        named = {key: source for key, source in sources.items() if source is not None}
        return {key: data_fingerprint(source, self.categories) for key, source in named.items()}

    def audit(self) -> dict[str, dict[str, Any]]:
        """Per category: samples shared between train and test, and what simple statistics alone achieve."""
        self.setup()
        return {
            category: audit.audit(part.samples, part.store, thumbnails(part.store, self.kind, category, self.cache))
            for category, part in zip(self.categories, self.parts, strict=False)
        }

    def describe(self) -> dict[str, str]:
        """What the samples are and what is done to them, in words, for reports."""
        return {
            "source": self.source.describe(),
            "contamination": self.contamination.describe(),
            "augmentation": self.augmentation.describe(),
        }

    def summary(self) -> dict[str, Any]:
        """What the data is, for the record: the rule of the splits in words, and counts per category."""
        self.setup()
        mixed = bool(self.contamination.share)
        return {
            "rule": f"{self.cut.describe()}; {self.grouping.describe()}",
            **{name: getattr(self, name) for name in ("root", "seed", "size", "aspect")},
            "shots": self.cut.shots,
            "canvas": list(self.canvas),
            "kind": asdict(self.kind),
            **self.contamination.summary(),
            **({"augment": list(self.augmentation.kinds)} if self.augmentation.copies else {}),
            "categories": {
                category: describe_category(label, self.parts, self.splits, self.dropped, self.source, mixed)
                for label, category in enumerate(self.categories)
            },
        }
