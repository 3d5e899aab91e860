"""A schedule of its own."""

import torch
from torch import Tensor

from diffect.diffusion.schedules import NoiseSchedule


class Straight(NoiseSchedule):
    """A straight line in log-SNR [@nobody2030straight]."""

    def native_log_snr(self, t: Tensor) -> Tensor:
        return 10 - 20 * t

    def native_time(self, log_snr: Tensor) -> Tensor:
        return (10 - torch.as_tensor(log_snr)) / 20
