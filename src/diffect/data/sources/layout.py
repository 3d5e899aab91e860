"""The names of the folders of a data set in MVTec AD layout, and which folder was meant where they are missing."""

from dataclasses import dataclass
from pathlib import Path

from diffect.data.sources.folders import entries, folders


@dataclass(frozen=True)
class Layout:
    """What the folders of a category are called, in small or capital letters.

    root/<category>/<train>/<good>/**    normal images
    root/<category>/<test>/<kind>/**     a name in `good` is normal, every other name is a kind of defect
    root/<category>/<masks>/<kind>/<stem>_mask.png, or <stem>.png, or all images in <stem>/
    """

    train: str = "train"
    test: str = "test"
    masks: str = "ground_truth"
    good: tuple[str, ...] = ("good", "ok")

    def is_category(self, folder: Path) -> bool:
        """Whether a folder looks like a category: it has train/, or test/good."""
        inside = folders(folder)
        tests = [path for path in inside if same_name(path.name, self.test)]
        good = any(self.is_good(path.name) for test in tests for path in folders(test))
        return good or any(same_name(path.name, self.train) for path in inside)

    def is_good(self, name: str) -> bool:
        """Whether a folder of this name holds normal images."""
        return any(same_name(name, good) for good in self.good)

    def elsewhere(self) -> str:
        """Why an image in none of these folders is ignored, and what to do."""
        return f"not in {self.train}/{self.good[0]}, {self.test}/KIND or {self.masks}/KIND: move them there"

    def expected(self) -> str:
        """What a category must hold, in words."""
        return f"{self.train}/{self.good[0]}, {self.test} and {self.masks}"

    def too_low(self, root: Path, category: Path) -> str:
        """The error for a root that is a category, or lies inside one."""
        category = category.resolve()
        inside = root.resolve() != category
        what = f"lies inside the category {category.name}" if inside else "is a category itself"
        return f"data.root={root} {what}: pass data.root={category.parent} data.category={category.name}"

    def misplaced(self, root: Path) -> str:
        """The error for a root without categories: which other folder fits."""
        for above in list(root.resolve().parents)[:3]:
            if self.is_category(above):
                return self.too_low(root, above)
        level = [root]
        for _ in range(3):
            level = [child for folder in level[:500] for child in folders(folder)]
            datasets = [folder for folder in level if any(map(self.is_category, folders(folder)))]
            if datasets:
                return (
                    f"data.root={root} is too high, no folder in it is a category: pass data.root="
                    f"{' or data.root='.join(str(d) for d in datasets[:3])}"
                )
        content = "it is empty" if not entries(root) else f"no folder in it has {self.train}/{self.good[0]}"
        return (
            f"data.root={root} is not a dataset in MVTec AD layout, {content}; it must hold one folder per "
            f"category, each with {self.expected()}"
        )


def same_name(one: str, other: str) -> bool:
    """Whether two names of folders are the same but for capital letters."""
    return one.casefold() == other.casefold()
