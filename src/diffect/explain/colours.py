"""Which colour a value of an anomaly map has: the same for every image of a category, whatever the image."""

from __future__ import annotations

from dataclasses import dataclass

NOTABLE = 3.0  # where the colours turn without a threshold: the map is in multiples, or deviations, of normal cells
_MULTIPLES = (2, 4, 8)  # of the way from `low` to `middle`, told above it


@dataclass(frozen=True)
class ColourScale:
    """`low` and less is black, `middle` has the middle colour, and however high a map goes, there is room above.

    A value has the colour at u / (1 + u), u = (value - low) / (middle - low), which is `gallery.colours`.
    """

    low: float
    middle: float

    @classmethod
    def of(cls, outline: float | None) -> ColourScale:
        """From 0 by way of the outline's threshold, or of `NOTABLE` where there is none."""
        middle = NOTABLE if outline is None else outline
        return cls(0.0 if middle > 0 else middle - 1, middle)

    def position(self, value: float) -> float:
        """Where a value lies on the bar, in [0, 1)."""
        above = max((value - self.low) / (self.middle - self.low), 0.0)
        return above / (1 + above)

    @property
    def twice(self) -> float:
        """As far above `middle` as that is above `low`: the brightest, for colours that must end somewhere."""
        return 2 * self.middle - self.low

    @property
    def ticks(self) -> list[float]:
        """The values that the bar tells."""
        return [self.low, self.middle, *(self.low + many * (self.middle - self.low) for many in _MULTIPLES)]
