"""diffect: a laboratory for anomaly detection with diffusion models.

From Python:

    import diffect

    detector = diffect.load("outputs/single/0123456789ab")  # the folder of a finished run
    result = detector("part.png")  # or a PIL image, an array, a list of these, a folder
    result.score, result.flagged, result.p_value, result.map

    detector = diffect.train(["data.category=brick", "seed=1"])  # as `diffect train data.category=brick seed=1`
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffect.cli.api import train
    from diffect.detector.detector import Detector, ImageResult
    from diffect.detector.predictor import Prediction, Predictor
    from diffect.diffusion import schedules
    from diffect.training.load import load

__version__ = version("diffect")
__all__ = ["Detector", "ImageResult", "Prediction", "Predictor", "__version__", "load", "schedules", "train"]

_HOMES = {
    "Detector": "diffect.detector.detector",
    "ImageResult": "diffect.detector.detector",
    "Prediction": "diffect.detector.predictor",
    "Predictor": "diffect.detector.predictor",
    "load": "diffect.training.load",
    "train": "diffect.cli.api",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: torch takes seconds (PEP 562)."""
    if name == "schedules":
        return import_module("diffect.diffusion.schedules")
    if name not in _HOMES:
        raise AttributeError(f"module 'diffect' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
