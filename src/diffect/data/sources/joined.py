"""Several sources as one, for runs over categories from different places."""

from collections.abc import Mapping
from itertools import combinations

from diffect.data.decode import Depth
from diffect.data.sample import Kind, Sample, Source
from diffect.data.sources import folders


class Joined(Source):
    """The categories of all `sources`; ValueError where two sources share a name.

    Messages and the command line name a source as data.source.sources.NAME.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources

    def describe(self) -> str:
        """What each source holds."""
        return "; ".join(source.describe() for source in self._nonempty().values())

    @property
    def kind(self) -> Kind:
        """The kind of all sources; ValueError where they differ."""
        kinds = {str(name): source.kind for name, source in self._nonempty().items()}
        first, *others = kinds
        for other in others:
            if kinds[other] != kinds[first]:
                raise ValueError(
                    f"the sources {first} and {other} of data.source.sources hold {kinds[first]} and {kinds[other]}: "
                    f"one run takes samples of one kind"
                )
        return kinds[first]

    def categories(self) -> list[str]:
        """All categories, sorted."""
        return sorted(self._owners())

    def samples(self, category: str) -> list[Sample]:
        """All samples of one category, as its source gives them."""
        return self._owner(category).samples(category)

    def ignored(self, category: str) -> folders.Ignored:
        """What the category's source ignores."""
        return self._owner(category).ignored(category)

    def depth(self, category: str) -> Depth:
        """As the category's source says."""
        return self._owner(category).depth(category)

    def fingerprint(self, category: str) -> str:
        """The category's fingerprint in its source: joining changes nothing in it."""
        return self._owner(category).fingerprint(category)

    def _owner(self, category: str) -> Source:
        owners = self._owners()
        if category not in owners:
            raise ValueError(folders.unknown(category, sorted(owners), f"{' or '.join(map(str, self._sources))}"))
        return owners[category]

    def _owners(self) -> dict[str, Source]:
        """The source of each category."""
        categories = {str(name): source.categories() for name, source in self._nonempty().items()}
        for (one, first), (other, second) in combinations(categories.items(), 2):
            if shared := sorted(set(first) & set(second)):
                raise ValueError(
                    f"the sources {one} and {other} of data.source.sources both have a category {shared[0]}: "
                    f"rename its folder, so that each name means one category"
                )
        return {category: self._sources[name] for name, names in categories.items() for category in names}

    def _nonempty(self) -> Mapping[str, Source]:
        if not self._sources:
            raise ValueError("data.source.sources is empty; it must name at least one source")
        return self._sources
