"""Where caches lie: in the home folder, or in DIFFECT_CACHE, which makes a home folder unnecessary."""

import contextlib
import os
from pathlib import Path

CURE = "set data.cache or DIFFECT_CACHE to a folder that can be written"

LIBRARIES = {
    "MPLCONFIGDIR": "matplotlib",
    "WANDB_CACHE_DIR": "wandb/cache",
    "WANDB_CONFIG_DIR": "wandb/config",
    "WANDB_DATA_DIR": "wandb/data",
    "TORCHINDUCTOR_CACHE_DIR": "torch",
}
"""Variables that say where a library keeps what it would keep in the home folder."""


def cache_root() -> Path:
    """The folder of all caches: $DIFFECT_CACHE, or ~/.cache/diffect; ValueError if there is no home folder either."""
    try:
        return Path(os.environ.get("DIFFECT_CACHE") or "~/.cache/diffect").expanduser()
    except RuntimeError as error:
        raise ValueError(
            "there is no home folder to keep caches in: set DIFFECT_CACHE to a folder that can be written"
        ) from error


def settle_libraries() -> None:
    """Where the home folder cannot be written, let the libraries keep their files in DIFFECT_CACHE, if it can be."""
    if not os.environ.get("DIFFECT_CACHE") or os.access(os.path.expanduser("~"), os.W_OK):  # noqa: PTH111, never raises
        return
    root = cache_root().absolute()
    with contextlib.suppress(OSError):  # whoever writes there says so, with the cure
        root.mkdir(parents=True, exist_ok=True)
        for variable, folder in LIBRARIES.items():
            os.environ.setdefault(variable, str(root / folder))
