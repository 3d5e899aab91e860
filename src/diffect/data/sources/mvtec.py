"""Any folder in MVTec AD layout as a source of samples: what it holds, and what is wrong with it."""

from collections import defaultdict
from pathlib import Path

from diffect.config.check import checked
from diffect.config.types import Names, Place, Range, as_list
from diffect.data.decode import Depth
from diffect.data.sample import GOOD, IMAGE, Kind, Sample, Source
from diffect.data.sources import folders
from diffect.data.sources.files import ImageFiles, sensor_bits
from diffect.data.sources.folders import EXTENSIONS, Ignored, Listing
from diffect.data.sources.layout import Layout


@checked
class Folder(Source):
    """A folder of one or more categories in MVTec AD layout, also with nested masks (MVTec LOCO) or ok and ko (BTAD).

    Nothing is read until it is needed, so a wrong `root` is reported by the first call that needs it. Messages name
    `root` as `data.root`, its key on the command line. train, test, masks, good: what the folders are called, see
    `Layout`. value_range: which values are black and white in images of floating-point numbers or 32-bit integers;
    without it they are refused. A category without test images can be trained on.
    """

    kind: Kind = IMAGE  # type: ignore[assignment]

    def __init__(
        self,
        root: Place[str | Path | None],
        train: str = "train",
        test: str = "test",
        masks: str = "ground_truth",
        good: Names = ("good", "ok"),
        value_range: Range | None = None,
    ) -> None:
        if value_range is not None and not (len(value_range) == 2 and value_range[0] < value_range[1]):
            raise ValueError(f"data.source.value_range is {list(value_range)}; it must be [BLACK, WHITE], rising")
        self._root = root
        self._value_range = None if value_range is None else (float(value_range[0]), float(value_range[1]))
        self.layout = Layout(train, test, masks, tuple(as_list(good)))

    def describe(self) -> str:
        """What the folder holds."""
        return "photographs in the layout of MVTec AD [@bergmann2021mvtec]"

    @property
    def root(self) -> Path:
        """The folder; a ValueError where it is not given, missing, a file, or a category itself."""
        if self._root is None:
            raise ValueError(
                "data.root is not set: give data.root=/path/to/dataset, the folder that holds one folder per "
                f"category (each with {self.layout.expected()})"
            )
        root = Path(self._root).expanduser()
        if not root.is_dir():
            state = "is a file" if root.exists() else "does not exist"
            raise ValueError(f"data.root={root} {state}; it must be the folder that holds the category folders")
        if self.layout.is_category(root):
            raise ValueError(self.layout.too_low(root, root))
        return root

    def categories(self) -> list[str]:
        """All categories, sorted; a ValueError says which folder to pass where there are none."""
        root = self.root
        names = sorted(folder.name for folder in folders.folders(root) if self.layout.is_category(folder))
        if not names:
            raise ValueError(self.layout.misplaced(root))
        return names

    def samples(self, category: str) -> list[Sample]:
        """All samples of one category: train, then test, each sorted by name."""
        content = self._content(category)
        values = "" if self._value_range is None else f"values {self._value_range}"
        files = ImageFiles(category, lambda: self._depth(content), values)
        train = [files.sample("train", content.listing.name(path), GOOD, path) for path in content.train]
        if not train:
            folder = content.listing.root / self.layout.train
            held = ", ".join(path.name for path in folders.entries(folder)[:5]) or "nothing"
            remarks = "; ".join(folders.remarks(content.listing.reasons()))
            raise ValueError(
                f"category {category} has no normal images: {folder / self.layout.good[0]} must hold "
                f"{folders.listed(EXTENSIONS)} files ({folder} holds {held})" + (f"; {remarks}" if remarks else "")
            )
        test = []
        for kind, paths in content.test.items():
            masks = content.masks_of(kind, paths) if content.masks and kind not in self.layout.good else {}
            defect = GOOD if kind in self.layout.good else kind
            test += [
                files.sample("test", content.listing.name(path), defect, path, masks.get(path, ())) for path in paths
            ]
        return train + test

    def ignored(self, category: str) -> Ignored:
        """The names, in the category's folder, of files that are no samples and no masks, by reason."""
        content = self._content(category)
        return content.listing.reasons() | content.unused()

    def depth(self, category: str) -> Depth:
        """The depth of the sensor behind the training images."""
        return self._depth(self._content(category))

    def _depth(self, content: "_Content") -> Depth:
        return Depth(sensor_bits(content.train), self._value_range)

    def _content(self, category: str) -> "_Content":
        known = self.categories()
        if category not in known:
            raise ValueError(folders.unknown(category, known, f"data.root={self._root}"))
        return _Content(folders.scan(self.root / category), self.layout)


class _Content:
    """The files of a category by what they are: training images, test images by kind, masks by kind and stem."""

    def __init__(self, listing: Listing, layout: Layout) -> None:
        self.listing, self._layout = listing, layout
        self.train: list[Path] = []
        self.test: dict[str, list[Path]] = defaultdict(list)
        self.masks: dict[str, dict[str, list[Path]]] = {}
        self._normal_masks: list[Path] = []
        self._misplaced: list[Path] = []
        for path in listing.images:
            self._sort(path, path.relative_to(listing.root).parts)

    def _sort(self, path: Path, parts: tuple[str, ...]) -> None:
        layout = self._layout
        if len(parts) == 3 and parts[0] == layout.train and parts[1] in layout.good:
            self.train.append(path)
        elif len(parts) == 3 and parts[0] == layout.test:
            self.test[parts[1]].append(path)
        elif len(parts) in (3, 4) and parts[0] == layout.masks and parts[1] in layout.good:
            self._normal_masks.append(path)
        elif len(parts) in (3, 4) and parts[0] == layout.masks:
            # Several masks of one image lie in a folder of its name.
            stem = parts[2] if len(parts) == 4 else path.stem
            self.masks.setdefault(parts[1], defaultdict(list))[stem].append(path)
        else:
            self._misplaced.append(path)

    def masks_of(self, kind: str, images: list[Path]) -> dict[Path, tuple[Path, ...]]:
        """The masks of each image of a kind of defect, by stem with or without `_mask`.

        ValueError where an image has none, and where two images or two files of masks have one stem.
        """
        by_stem, truth = self.masks.get(kind, {}), self.listing.root / self._layout.masks
        matched: dict[Path, tuple[Path, ...]] = {}
        owners: dict[str, Path] = {}
        for path in images:
            fitting = by_stem.get(f"{path.stem}_mask", []) + by_stem.get(path.stem, [])
            files = [mask for mask in fitting if mask.parent == truth / kind]
            if path.stem in owners or len(files) > 1 or (files and files != fitting):
                clash = [path, owners[path.stem]] if path.stem in owners else fitting
                raise ValueError(
                    f"masks are matched by stem, and {clash[0]} and {clash[1]} share one; rename or remove one"
                )
            owners[path.stem] = path
            if fitting:
                matched[path] = tuple(fitting)
        missing = [path for path in images if path not in matched]
        if missing:
            raise ValueError(
                f"{len(missing)} of {len(images)} images in {missing[0].parent} have no mask, first "
                f"{missing[0].name}: add {truth / kind / missing[0].stem}_mask.png, or remove the category's "
                f"{self._layout.masks} folder to have image metrics only"
            )
        return matched

    def unused(self) -> Ignored:
        """The names of image files that are neither samples nor masks of samples, by reason."""
        layout = self._layout
        stems = {kind: {path.stem for path in images} for kind, images in self.test.items()}
        strays = [
            path
            for kind, by_stem in self.masks.items()
            for stem, paths in by_stem.items()
            for path in paths
            if not {stem, stem.removesuffix("_mask")} & stems.get(kind, set())
        ]
        places = f"{layout.train}/{layout.good[0]}, {layout.test}/KIND and {layout.masks}/KIND"
        unused = {
            f"no image is looked for there, but in {places}": self._misplaced,
            "masks that belong to no image": strays,
            "masks of normal images": self._normal_masks,
        }
        return {reason: list(map(self.listing.name, paths)) for reason, paths in unused.items() if paths}
