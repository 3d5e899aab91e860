"""A class from outside that breaks its contract is refused when the run is built: which method, what was expected."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from diffect.data.sample import IMAGE, Kind, Sample, Source
from diffect.denoisers.base import Network
from diffect.denoisers.gaussian import Gaussian
from diffect.denoisers.learned import LearnedDenoiser
from diffect.diffusion.schedules import NoiseSchedule
from diffect.representations.affine import Affine
from diffect.representations.base import Representation
from diffect.scorers.base import Scorer
from diffect.scorers.denoising import DenoisingError
from diffect.training.contracts import check_representation, check_schedule, check_scoring, check_source


class Line(NoiseSchedule):
    def __init__(self, slope: float = -20.0, back: float = -20.0) -> None:
        super().__init__()
        self.slope, self.back = slope, back

    def native_log_snr(self, t: Tensor) -> Tensor:
        return 10 + self.slope * t

    def native_time(self, log_snr: Tensor) -> Tensor:
        return (log_snr - 10) / self.back


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        (Line(20.0, 20.0), r"Line\.native_log_snr must give values that fall strictly with t; it gave \["),
        (
            Line(-20.0, -19.0),
            r"Line\.native_time must give the inverse of native_log_snr; it gave times that are off by",
        ),
    ],
)
def test_a_schedule_falls_and_can_be_inverted(schedule: NoiseSchedule, said: str) -> None:
    check_schedule(Line())
    with pytest.raises(ValueError, match=said):
        check_schedule(schedule)


class Raw(Representation):
    def __init__(self, extracted: Tensor) -> None:
        super().__init__(Affine([3]))
        self.extracted = extracted

    @property
    def identity(self) -> str:
        return ""

    def extract(self, images: Tensor) -> Tensor:
        return self.extracted


@pytest.mark.parametrize(
    ("extracted", "said"),
    [
        (torch.zeros(1, 3, 4), r"Raw\.extract must give floats \(B, C, \*grid\) with 4 axes; it gave \(1, 3, 4\)"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.int64), r"it gave \(1, 3, 4, 4\) of type torch\.int64"),
        (torch.zeros(1, 5, 4, 4), r"Raw\.extract must give 3 channels, as its `channels` say; it gave 5"),
    ],
)
def test_a_representation_extracts_floats(extracted: Tensor, said: str) -> None:
    blank = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    assert check_representation(Raw(torch.zeros(1, 3, 4, 4)), blank).shape == (1, 3, 4, 4)
    with pytest.raises(ValueError, match=said):
        check_representation(Raw(extracted), blank)


class Judge(Scorer):
    def __init__(self, channels: Sequence[int], axis: int | None = 1) -> None:
        super().__init__(channels)
        self.axis = axis

    def forward(self, denoiser: Any, x0: Tensor, label: Tensor | None, noise: Any) -> Tensor:
        if self.axis is None:
            return x0.missing
        return (x0 - denoiser(x0, torch.zeros(len(x0)), label)).abs().amax(self.axis, keepdim=True)


def test_a_scorer_gives_its_components() -> None:
    shape = (3, 4, 5)
    check_scoring(Gaussian(shape), Judge([3]), shape)
    with pytest.raises(ValueError, match=r"Judge\.forward must give components \(2, 1, 4, 5\); it gave \(2, 3, 1, 5\)"):
        check_scoring(Gaussian(shape), Judge([3], axis=2), shape)
    with pytest.raises(ValueError, match=r"Judge\.forward fails: AttributeError"):
        check_scoring(Gaussian(shape), Judge([3], axis=None), shape)


def test_a_network_gives_what_it_is_given() -> None:
    class Net(Network):
        def __init__(self, shape: Sequence[int], classes: int, outputs: int) -> None:
            super().__init__()

        def forward(self, x: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor:
            return x[:, :2]

    shape = (3, 4, 5)
    with pytest.raises(ValueError, match=r"Net\.forward must give \(2, 3, 4, 5\); it gave \(2, 2, 4, 5\)"):
        check_scoring(LearnedDenoiser(Net, shape), DenoisingError([3]), shape)


def test_samples_load_as_the_kind_says() -> None:
    class Odd(Source):
        @property
        def kind(self) -> Kind:
            return IMAGE

        def categories(self) -> list[str]:
            return ["part"]

        def samples(self, category: str) -> list[Sample]:
            return [Sample(category, "train", "a", "good", lambda: np.zeros((8, 8), np.uint8))]

    with pytest.raises(ValueError, match=r"Odd\.samples must give an array with 2 axes .* it gave an array \(8, 8\)"):
        check_source(Odd(), "part")
