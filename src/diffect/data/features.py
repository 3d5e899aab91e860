"""Features of the samples of a store, computed once and kept on disk."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from diffect.data.batches import Extract, arrays, ignored
from diffect.data.store import Store, name_of, progress
from diffect.storage.arrays import cached, npy_writer, open_npy


def open_features(
    store: Store, category: str, identity: str, extract: Extract, batch_size: int, cache: Path, tiled: bool = False
) -> NDArray[np.float32]:
    """What `extract` gives of every sample of a store, (N, C, *grid), mapped from `cache`; built where it is missing.

    Args:
        store: holds the samples.
        category: of the samples, for the file's name.
        identity: a name of the extractor and all its settings.
        extract: gives (B, C, *grid) of samples (B, C, *size) and of where they are ignored (B, *size).
        batch_size: samples to a call of it.
        cache: the folder of all caches.
        tiled: whether it gives (B, T, C, *grid), one for each tile.
    """
    path = cache / "features" / f"{category}-{name_of([identity, store.key])}.npy"
    count, axes, title = len(store.arrays), store.arrays.ndim + tiled, f"features of {category}"

    def build() -> None:
        first = _extract(store, 0, extract, batch_size)
        if first.ndim != axes:
            raise ValueError(f"the representation's extract must give (B, C, *grid) features; it gave {first.shape}")
        shape = (count, *first.shape[1:])
        with npy_writer(path, np.float32, shape) as write, progress(None, title, count) as bar:
            for start in range(0, count, batch_size):
                features = first if start == 0 else _extract(store, start, extract, batch_size)
                write(features)
                bar.update(len(features))

    return cached(path, title, lambda: open_npy(path, np.float32, (count, *[None] * (axes - 1))), build)


@torch.no_grad()
def _extract(store: Store, start: int, extract: Extract, batch_size: int) -> NDArray[np.float32]:
    """Features of one batch, the last one filled up: kernels may round otherwise for another batch size."""
    rows = np.arange(start, min(start + batch_size, len(store.arrays)))
    filled_up = np.resize(rows, batch_size)
    features = extract(arrays(store, filled_up), ignored(store, filled_up)).float().cpu().numpy()[: len(rows)]
    if len(features) != len(rows):
        raise ValueError(f"the representation's extract must give (B, C, *grid) features; it gave {features.shape}")
    return features
