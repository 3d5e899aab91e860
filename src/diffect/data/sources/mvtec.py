"""Any folder in MVTec AD layout as a source of samples: what it holds, and what is wrong with it."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePath

from diffect.config.check import checked
from diffect.config.types import Names, Place, Range, as_list
from diffect.data.decode import Depth
from diffect.data.sample import GOOD, IMAGE, Kind, Sample, Source
from diffect.data.sources import folders
from diffect.data.sources.files import ImageFiles, sensor_bits
from diffect.data.sources.folders import EXTENSIONS, Ignored, Listing
from diffect.data.sources.layout import Layout, same_name


@checked
class Folder(Source):
    """A folder of one or more categories in MVTec AD layout, also with nested masks (MVTec LOCO) or ok and ko (BTAD).

    Nothing is read until it is needed, so a wrong `root` is reported by the first call that needs it. A category
    without test images can be trained on.

    Args:
        root: the folder; errors call it data.root, its key on the command line.
        train: name of the folder of training images in a category, see `Layout`.
        test: of test images.
        masks: of masks.
        good: of normal images in `train` and `test`; one name or several.
        value_range: black and white in images of floating-point numbers or 32-bit integers; None refuses them.
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
            raise ValueError(f"data.source.value_range is {list(value_range)}; it must be [BLACK, WHITE], increasing")
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
            normal = self.layout.is_good(kind)
            masks = content.masks_of(kind, paths) if content.masks and not normal else {}
            defect = GOOD if normal else kind
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
    """The files of a category by what they are: training images, test images by kind, masks by kind, and the rest.

    Subfolders are part of the folder that they lie in.
    """

    def __init__(self, listing: Listing, layout: Layout) -> None:
        self.listing, self._layout = listing, layout
        self.train: list[Path] = []
        self.test: dict[str, list[Path]] = defaultdict(list)
        self.masks: dict[str, list[Path]] = defaultdict(list)
        self._normal_masks: list[Path] = []
        self._misplaced: list[Path] = []
        for path in listing.images:
            self._sort(path, self._parts(path))

    def _parts(self, path: Path) -> tuple[str, ...]:
        return path.relative_to(self.listing.root).parts

    def _sort(self, path: Path, parts: tuple[str, ...]) -> None:
        place, kind = (parts[0], parts[1]) if len(parts) > 2 else ("", "")
        normal = self._layout.is_good(kind)
        if normal and same_name(place, self._layout.train):
            self.train.append(path)
        elif same_name(place, self._layout.test):
            self.test[kind].append(path)
        elif same_name(place, self._layout.masks):
            (self._normal_masks if normal else self.masks[kind]).append(path)
        else:
            self._misplaced.append(path)

    def _by_stem(self, paths: Iterable[Path]) -> dict[str, list[Path]]:
        """Files by their stem, which includes the subfolder of their kind: monday/003."""
        by_stem = defaultdict(list)
        for path in paths:
            by_stem[PurePath(*self._parts(path)[2:]).with_suffix("").as_posix()].append(path)
        return by_stem

    def masks_of(self, kind: str, images: list[Path]) -> dict[Path, tuple[Path, ...]]:
        """The masks of each image of a kind of defect: STEM or STEM_mask, or all in a folder of that name.

        ValueError where an image has none, and where two images or two masks have the same stem.
        """
        stems, masks = self._by_stem(images), self._by_stem(self.masks[kind])
        inside: dict[str, list[Path]] = defaultdict(list)
        for mask in masks.keys() - {name for stem in stems for name in _mask_names(stem)}:
            inside[mask.rpartition("/")[0]] += masks[mask]
        matched: dict[Path, tuple[Path, ...]] = {}
        for stem, owners in stems.items():
            single = [path for name in _mask_names(stem) for path in masks.get(name, [])]
            several = [path for name in _mask_names(stem) for path in sorted(inside.get(name, []))]
            if len(owners) > 1 or len(single) > 1 or (single and several):
                clash = owners if len(owners) > 1 else single + several
                raise ValueError(
                    f"masks are matched by stem, and {clash[0]} and {clash[1]} have the same one; rename or remove one"
                )
            if single or several:
                matched[owners[0]] = (*single, *several)
        if missing := [path for path in images if path not in matched]:
            first, root = self._parts(missing[0]), self.listing.root
            wanted = root.joinpath(self._layout.masks, *first[1:]).with_name(f"{missing[0].stem}_mask.png")
            raise ValueError(
                f"{len(missing)} of {len(images)} images in {root.joinpath(*first[:2])} have no mask, first "
                f"{missing[0].name}: add {wanted}, or remove the category's {self._layout.masks} folder to have image "
                "metrics only"
            )
        return matched

    def unused(self) -> Ignored:
        """The names of image files that are neither samples nor masks of samples, by reason."""
        strays = []
        for kind, masks in self.masks.items():
            known = {name for stem in self._by_stem(self.test.get(kind, [])) for name in _mask_names(stem)}
            for stem, paths in self._by_stem(masks).items():
                strays += paths if known.isdisjoint((stem, stem.rpartition("/")[0])) else []
        unused = {
            self._layout.elsewhere(): self._misplaced,
            "masks that belong to no image": strays,
            "masks of normal images": self._normal_masks,
        }
        return {reason: list(map(self.listing.name, paths)) for reason, paths in unused.items() if paths}


def _mask_names(stem: str) -> tuple[str, str]:
    """What the mask of an image may be called, without its ending; a folder of its masks too."""
    return f"{stem}_mask", stem
