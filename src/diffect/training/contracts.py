"""Checks, when a run is built, that classes from outside this package keep their contract; errors name the method."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from diffect.data.sample import Source
from diffect.denoisers.base import ClosedForm, Denoiser
from diffect.denoisers.gaussian import Gaussian
from diffect.denoisers.learned import LearnedDenoiser
from diffect.diffusion.noise import ImageNoise
from diffect.diffusion.schedules import NoiseSchedule
from diffect.representations.base import Representation
from diffect.scorers.base import Scorer

_INSIDE = ("diffect", "torch", "diffusers")


def check_source(source: Source, category: str) -> None:
    """Samples of the source load as arrays (*size, C) of its kind."""
    if not _outside(source):
        return
    kind, array = source.kind, source.samples(category)[0].load()
    wanted = f"an array with {kind.rank} axes of cells and {kind.channels} channels, of type {kind.dtype}"
    right = array.ndim == kind.rank + 1 and array.shape[-1] == kind.channels and array.dtype == kind.dtype
    _require(right, source, "samples", wanted, f"an array {tuple(array.shape)} of type {array.dtype}")


def check_schedule(schedule: NoiseSchedule) -> None:
    """log_snr falls strictly with t, and time is its inverse."""
    if not _outside(schedule):
        return
    t = torch.linspace(0.01, 0.99, 33, dtype=torch.float64)
    log_snr = _called(schedule, "native_log_snr", schedule.native_log_snr, t)
    falls = bool((log_snr.diff() < 0).all())
    _require(falls, schedule, "native_log_snr", "values that fall strictly with t", f"{log_snr[:3].tolist()}, ...")
    error = float((_called(schedule, "native_time", schedule.native_time, log_snr) - t).abs().max())
    _require(
        error < 1e-4, schedule, "native_time", "the inverse of native_log_snr", f"times that are off by {error:.2g}"
    )


def check_representation(representation: Representation, blank: Tensor) -> Tensor:
    """raw (1, C, *grid) of a blank sample (1, channels, *size): floats, with as many axes as the sample."""
    raw: Tensor = _called(representation, "extract", representation.extract, blank)
    if _outside(representation):
        right = raw.ndim == blank.ndim and len(raw) == len(blank) and raw.is_floating_point()
        wanted = f"floats (B, C, *grid) with {blank.ndim} axes"
        _require(right, representation, "extract", wanted, f"{tuple(raw.shape)} of type {raw.dtype}")
        total = sum(representation.channels)
        _require(
            raw.shape[1] == total, representation, "extract", f"{total} channels, as its `channels` say", raw.shape[1]
        )
    return raw


@torch.no_grad()
def check_scoring(denoiser: Denoiser, scorer: Scorer, shape: tuple[int, ...]) -> None:
    """x0_hat has the shape of x_t; the scorer gives (B, K, *grid) with its K components."""
    modules = [*denoiser.modules(), *scorer.modules()]
    if not any(map(_outside, modules)):
        return
    x0 = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    label, modes = torch.zeros(2, dtype=torch.int64), [(module, module.training) for module in modules]
    denoiser.eval(), scorer.eval()
    # A closed form is not fitted yet: N(0, I) stands in for it.
    stand_in = Gaussian(shape, covariance="shared") if isinstance(denoiser, ClosedForm) else denoiser
    if isinstance(denoiser, LearnedDenoiser):
        network, condition = denoiser.network, label if denoiser.groups > 1 else None
        output = _called(network, "forward", network, x0, torch.zeros(2), condition)
        wanted = (2, sum(denoiser.outputs), *shape[1:])
        _require(tuple(output.shape) == wanted, network, "forward", wanted, tuple(output.shape))
    elif not denoiser.absent:
        x0_hat = _called(denoiser, "forward", stand_in, x0, torch.zeros(2), label)
        _require(x0_hat.shape == x0.shape, denoiser, "forward", tuple(x0.shape), tuple(x0_hat.shape))
    components = _called(scorer, "forward", scorer, stand_in, x0, label, ImageNoise(0, torch.tensor([1, 2])))
    wanted = (2, scorer.components, *shape[1:])
    _require(tuple(components.shape) == wanted, scorer, "forward", f"components {wanted}", tuple(components.shape))
    for module, training in modes:
        module.training = training


def _outside(part: object) -> bool:
    return type(part).__module__.split(".")[0] not in _INSIDE


def _called(part: object, method: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """The result; what goes wrong inside a class from outside is a sentence that names it."""
    try:
        return function(*arguments)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError) as error:
        if not _outside(part):
            raise
        raise ValueError(f"{_name(part)}.{method} fails: {type(error).__name__}: {error}") from error


def _require(right: bool, part: object, method: str, wanted: object, given: object) -> None:
    if not right:
        raise ValueError(f"{_name(part)}.{method} must give {wanted}; it gave {given}")


def _name(part: object) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"
