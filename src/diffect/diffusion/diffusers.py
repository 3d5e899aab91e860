"""Schedules to and from diffusers' schedulers, so that a model trained with one samples with the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from diffect.diffusion.schedules import DiscreteProduct, EndPoints, NoiseSchedule

if TYPE_CHECKING:
    from diffusers import DDIMScheduler


def to_diffusers(schedule: NoiseSchedule, steps: int = 1000, prediction: str = "v") -> DDIMScheduler:
    """A DDIMScheduler with this schedule's betas at t = (i + 1) / steps.

    Clipping is off (diffusers clips x0 to [-1, 1] by default; standardised features live outside it) and timesteps
    are trailing, so that sampling starts at the last, noisiest entry (Lin et al. 2024).
    """
    from diffusers import DDIMScheduler

    names = {"eps": "epsilon", "v": "v_prediction", "x0": "sample"}
    if prediction not in names:
        raise ValueError(f"prediction is {prediction!r}; allowed: {', '.join(names)}")
    return DDIMScheduler(
        num_train_timesteps=steps,
        trained_betas=schedule.betas(steps).to(torch.float32).numpy(),
        clip_sample=False,
        set_alpha_to_one=True,
        timestep_spacing="trailing",
        prediction_type=names[prediction],
    )


def from_diffusers(scheduler: Any, endpoints: EndPoints = "native") -> DiscreteProduct:
    """The schedule of any diffusers scheduler that has `betas`, entry i at t = (i + 1) / T."""
    return DiscreteProduct(scheduler.betas.to(torch.float64), endpoints=endpoints)
