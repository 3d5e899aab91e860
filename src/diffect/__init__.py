"""diffect: a laboratory for anomaly detection with diffusion models."""

from importlib.metadata import version

__version__ = version("diffect")
