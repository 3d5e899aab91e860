"""Features of the images of a store, computed once and kept on disk."""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from diffect.data.batches import Extract, images
from diffect.data.store import ImageStore, logger, progress
from diffect.storage.arrays import npy_writer, open_npy


def open_features(
    store: ImageStore, category: str, identity: str, extract: Extract, batch_size: int, cache: Path
) -> NDArray[np.float32]:
    """What `extract` gives of every image of a store (N, C, h, w), mapped from `cache`; built where it is missing.

    identity: a name of the extractor and all its settings. batch_size: images to a call of it.
    """
    key = hashlib.sha256(json.dumps([identity, store.key]).encode()).hexdigest()[:16]
    path = cache / "features" / f"{category}-{key}.npy"
    count = len(store.images)
    try:
        return open_npy(path, np.float32, (count, None, None, None))
    except FileNotFoundError:
        pass
    except (ValueError, OSError) as error:
        logger.warning("the feature cache %s is broken (%s); it is built again", path, error)
    first = _extract(store, 0, extract, batch_size)
    with (
        npy_writer(path, np.float32, (count, *first.shape[1:])) as write,
        progress(None, f"features of {category}", count) as bar,
    ):
        for start in range(0, count, batch_size):
            features = first if start == 0 else _extract(store, start, extract, batch_size)
            write(features)
            bar.update(len(features))
    return open_npy(path, np.float32, (count, *first.shape[1:]))


@torch.no_grad()
def _extract(store: ImageStore, start: int, extract: Extract, batch_size: int) -> NDArray[np.float32]:
    """Features of one batch, the last filled up: kernels may round otherwise for another batch size."""
    rows = np.arange(start, min(start + batch_size, len(store.images)))
    features = extract(images(store, np.resize(rows, batch_size))).float().cpu().numpy()[: len(rows)]
    if features.ndim != 4 or len(features) != len(rows):
        raise ValueError(f"an extractor must give (B, C, h, w) features, it gave {features.shape}")
    return features
