"""What a data source is."""

from typing import Protocol

from diffect.data.mvtec import Sample


class Source(Protocol):
    """Where samples come from; see `mvtec.Folder`, `textures.Textures` and `joined.Joined`."""

    def categories(self) -> list[str]:
        """All categories, sorted."""

    def samples(self, category: str) -> list[Sample]:
        """All samples of one category: train, then test."""

    def fingerprint(self, category: str) -> str:
        """A hash of what the category holds, found without decoding."""
