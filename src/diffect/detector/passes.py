"""Data that are made batch by batch, as often as they are gone through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from diffect.data.batches import Batch


@dataclass(frozen=True)
class Passes:
    """`make` of each batch, anew in every pass: what is solved at once may go through its data several times."""

    batches: Iterable[Batch]
    make: Callable[[Batch], tuple[Any, ...]]

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return map(self.make, self.batches)
