"""Every part that the config groups offer describes itself in plain text, with citations that the library has."""

import re
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
import torch
from configs import composed
from hydra.utils import instantiate
from torch import Tensor, nn

from diffect.config.description import Described, counted, enumerated
from diffect.config.files import config_folder
from diffect.denoisers.base import Denoiser, Network
from diffect.diffusion.schedules import NoiseSchedule

CONF = Path(config_folder("train"))
GROUPS = ("schedule", "weight", "denoiser", "scorer", "representation")
CHOICES = [f"{group}={path.stem}" for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
SUPPLIED: dict[str, dict[str, Any]] = {
    "denoiser": {"shape": (5, 8, 8), "classes": 2, "channels": [3, 2]},
    "scorer": {"channels": [3, 2]},
    "representation": {"channels": 3, "classes": 2},
}


def described(choice: str, *overrides: str) -> str:
    cfg = composed("train", choice, *overrides)
    group = choice.partition("=")[0]
    text: str = instantiate(cfg[group], **SUPPLIED.get(group, {})).describe()
    return text


@pytest.mark.slow
@pytest.mark.parametrize("choice", CHOICES)
def test_every_choice_describes_itself_with_known_citations(choice: str) -> None:
    text = described(choice)
    assert text and text == text.strip() and text[-1] not in ".,;:" and "\\" not in text and "$" not in text
    known = set(re.findall(r"@\w+\{(\w+),", files("diffect.reports.paper").joinpath("library.bib").read_text()))
    assert set(re.findall(r"@(\w+)", text)) <= known
    assert re.sub(r"\[@\w+(; @\w+)*\]", "", text).count("@") == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("choice", "overrides", "text"),
    [
        (
            "schedule=cosine",
            ["schedule.s=0.01"],
            "the cosine schedule with s = 0.01 [@nichol2021improved], with time restricted and rescaled so that "
            "log-SNR falls from 7 to -5",
        ),
        (
            "schedule=shifted",
            ["schedule.endpoints=native"],
            "the cosine schedule with s = 0.008 [@nichol2021improved], shifted to the size of the input, from 64 to 32 "
            "cells [@hoogeboom2023simple], on its native range, infinite ends cut at |log-SNR| = 20",
        ),
        ("weight=min_snr", ["weight.gamma=2"], "w = min(SNR, γ)/SNR with γ = 2 [@hang2023minsnr]"),
        (
            "denoiser=mlp",
            ["denoiser.prediction=eps", "denoiser.guidance=1.5"],
            "a network of 3 residual blocks [@liu2022convnet] that denoises each grid cell independently (width 256, "
            "expansion 2), which predicts the noise [@ho2020ddpm] and, for each scale, the variance of its error, with "
            "classifier-free guidance 1.5 [@ho2022guidance]",
        ),
        (
            "denoiser=empirical",
            ["denoiser.memory=0.25", "denoiser.window=1", "denoiser.keep=random"],
            "the optimum for stored training patches, a weighted mean of those from at most 1 cell away (25% of the "
            "patches of each category, drawn at random)",
        ),
        (
            "scorer=denoising",
            ["scorer.draws=2", "scorer.metric=mahalanobis"],
            "the denoising error at log-SNR -1 and 3, averaged over 2 draws of noise, in the metric of the residuals' "
            "covariance on normal images, each scale by itself",
        ),
        (
            "scorer=nearest",
            [],
            "the root of the negative log-density at log-SNR 12, less its log-determinant (of stored patches, the "
            "distance to the nearest [@roth2022patchcore])",
        ),
        (
            "representation=features",
            [],
            "the features of blocks 4, 7 and 10 of EfficientNet-Lite0 [@tan2019efficientnet], pretrained on ImageNet "
            "[@deng2009imagenet], frozen, on one grid, whitened (correlations shrunk by 0.02) by statistics shared by "
            "all grid cells; exposure is levelled first",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and "=" in value and " " not in value else "",
)
def test_a_description_names_the_settings(choice: str, overrides: list[str], text: str) -> None:
    assert described(choice, *overrides) == text


def test_without_words_of_its_own_a_part_is_described_by_the_first_sentence_of_its_docstring() -> None:
    class Mine(Network):
        """A network of
        two layers (Nobody 2030, eq. 1.5). More about it.
        """

        def forward(self, x: Tensor, log_snr: Tensor, label: Tensor | None) -> Tensor:
            return x

    assert Mine().describe() == "A network of two layers (Nobody 2030, eq. 1.5)"

    class Bare(NoiseSchedule):
        def native_log_snr(self, t: Tensor) -> Tensor:
            return 9 - 18 * t

        def native_time(self, log_snr: Tensor) -> Tensor:
            return (9 - log_snr) / 18

    bare = Bare()
    assert bare.describe().startswith("Bare, with time restricted")
    assert issubclass(Denoiser, Described) and issubclass(Denoiser, nn.Module)
    assert torch.allclose(bare.time(bare.log_snr(torch.tensor([0.3]))), torch.tensor([0.3]).double())


def test_numbers_and_counts_in_words() -> None:
    assert enumerated([-1.0, 0, 2.5]) == "-1, 0 and 2.5" and enumerated(["a"]) == "a" and enumerated([]) == "none"
    assert counted(1, "patch", "patches") == "1 patch" and counted(3, "draw") == "3 draws"
