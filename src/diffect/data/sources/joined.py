"""Several sources as one: categories of different origin in one run."""

from collections.abc import Mapping
from itertools import combinations

from diffect.data.sample import Sample, Source
from diffect.data.sources import folders


class Joined:
    """The categories of all `sources`, each under its own name; ValueError where two sources share one.

    The names of the sources say in messages, and on the command line, which is meant: data.source.sources.NAME.
    """

    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources

    def categories(self) -> list[str]:
        """All categories, sorted."""
        return sorted(self._owners())

    def samples(self, category: str) -> list[Sample]:
        """All samples of one category, as its source gives them."""
        return self._owner(category).samples(category)

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
        if not self._sources:
            raise ValueError("data.source.sources is empty; it must name at least one source")
        held = {str(name): source.categories() for name, source in self._sources.items()}
        for (one, first), (other, second) in combinations(held.items(), 2):
            if shared := sorted(set(first) & set(second)):
                raise ValueError(
                    f"the sources {one} and {other} of data.source.sources both have a category {shared[0]}: "
                    f"rename its folder, so that each name means one category"
                )
        return {category: self._sources[name] for name, categories in held.items() for category in categories}
