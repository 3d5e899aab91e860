"""Which samples are copies of each other: frames of a film, a folder that was copied twice, a photograph saved anew."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from diffect.data.sample import Kind
from diffect.data.store import Store
from diffect.storage.arrays import cached, npy_writer, open_npy

SIDE = 32  # pixels of a thumbnail
NEAR = 1.0  # grey levels
_CHUNK = 512  # thumbnails that are compared with all others at once

Labels = NDArray[np.int64]


def thumbnails(store: Store, kind: Kind, category: str, cache: Path) -> NDArray[np.float64] | None:
    """Grey thumbnails (N, 32 * 32) of a store's pictures, each minus its mean; None for samples that are no pictures.

    They are resized once and kept in `cache`.
    """
    if not kind.drawable:
        return None
    path, shape = cache / "thumbnails" / f"{category}-{store.key}.npy", (len(store.arrays), SIDE**2)

    def build() -> None:
        with npy_writer(path, np.uint16, shape) as write:
            for pixels in store.arrays:
                small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX)
                write(np.asarray(small, np.uint16).sum(axis=2).ravel())

    sums = cached(path, f"thumbnails of {category}", lambda: open_npy(path, np.uint16, shape), build)
    grey = sums / store.arrays.shape[-1]
    return grey - grey.mean(axis=1, keepdims=True)


def near_copies(of: NDArray[np.float64], among: NDArray[np.float64]) -> dict[int, int]:
    """{row of `of`: nearest row of `among`} of thumbnails of pictures that differ in brightness or compression only.

    Their root mean square difference must be below one grey level and below a tenth of the thumbnail's contrast, or
    flat surfaces would all be copies of each other.
    """
    nearest: dict[int, int] = {}
    for start, limits, distances in _distances(of, among):
        closest = distances.argmin(axis=1)
        close = np.flatnonzero(distances[np.arange(len(closest)), closest] < limits)
        nearest |= zip((start + close).tolist(), closest[close].tolist(), strict=True)
    return nearest


def alike(keys: Labels, small: NDArray[np.float64] | None) -> Labels:
    """(N,): equal for samples that are copies of each other, exactly (by content key) or nearly (by thumbnail)."""
    links = (
        []
        if small is None
        else [
            np.argwhere(distances < limits[:, None]) + np.array([start, 0])
            for start, limits, distances in _distances(small, small)
        ]
    )
    return united(keys, links=links)


def united(*labels: NDArray[Any], links: Sequence[Labels] = ()) -> Labels:
    """(N,): equal for samples that share one of their labels or are a pair in `links` (M, 2), directly or by others."""
    count = len(labels[0])
    pairs = list(links)
    for one in labels:
        _, first, inverse = np.unique(one, return_index=True, return_inverse=True)
        pairs.append(np.stack([np.arange(count), first[inverse]], axis=1))
    rows, columns = np.concatenate(pairs).T
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)


def _distances(
    of: NDArray[np.float64], among: NDArray[np.float64]
) -> Iterator[tuple[int, NDArray[np.float64], NDArray[np.float64]]]:
    """Where a chunk of thumbnails starts, below which difference each is a copy, and its differences to all others."""
    for start in range(0, len(of) if len(among) else 0, _CHUNK):
        chunk = of[start : start + _CHUNK]
        squares = (chunk**2).sum(1)[:, None] + (among**2).sum(1)[None] - 2 * chunk @ among.T
        yield start, np.minimum(NEAR, chunk.std(axis=1) / 10), np.sqrt(np.maximum(squares, 0) / of.shape[1])
