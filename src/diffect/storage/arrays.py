"""NumPy files: mapped read-only, written row by row, built again where they are missing or broken."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from diffect.storage.atomic import replacing
from diffect.storage.caches import CURE

logger = logging.getLogger(__name__)

T = TypeVar("T")


def cached(path: Path, title: str, load: Callable[[], T], build: Callable[[], None]) -> T:
    """What `load` gives of `path`, which `build` makes first where it is missing or broken."""
    try:
        return load()
    except FileNotFoundError:
        pass
    except (ValueError, OSError) as error:
        logger.warning("the cache of %s in %s is broken (%s); it is built again", title, path, error)
    build()
    return load()


def open_npy(path: Path, dtype: Any, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """A .npy file mapped read-only; ValueError where dtype, shape (None: any) or file size is another.

    `open_memmap` reads a literal header and raw numbers: no pickle, nothing is executed.
    """
    array = np.lib.format.open_memmap(path, mode="r")
    fits = len(shape) == array.ndim and all(want in (None, have) for want, have in zip(shape, array.shape, strict=True))
    if array.dtype != np.dtype(dtype) or not fits or not array.flags.c_contiguous:
        raise ValueError(f"{path.name} holds {array.dtype} {array.shape}, not {np.dtype(dtype)} {shape}")
    if path.stat().st_size != array.offset + array.nbytes:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes, not {array.offset + array.nbytes}")
    return array


@contextmanager
def npy_writer(path: Path, dtype: Any, shape: tuple[int, ...]) -> Iterator[Callable[[NDArray[Any]], None]]:
    """Gives a function that appends arrays to a .npy file of known shape.

    Plain writes, not a writable map: on a full disk a map kills the process, a write raises.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    with replacing(path, CURE) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)

        def append(chunk: NDArray[Any]) -> None:
            file.write(np.ascontiguousarray(chunk, dtype).data)

        yield append
