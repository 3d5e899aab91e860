"""A gain on a whole image cancels: exactly before 8 bits round it, and nearly, up to its score, after.

Measured on the textures as they are; what rounding leaves of a gain is bounded, and what clipping adds is counted.
"""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from diffect.data.decode import read_image
from diffect.data.sources.textures import Textures
from diffect.denoisers.gaussian import Gaussian
from diffect.detector.anomaly_map import AnomalyMap
from diffect.diffusion.noise import ImageNoise
from diffect.representations.backbones import EfficientNetLite
from diffect.representations.features import MIDDLE, MOST, Features, level_exposure
from diffect.scorers.density import Density

pytestmark = pytest.mark.slow

GAINS = (0.8, 1.2)


def photographs(count: int = 3, low: int = 0, high: int = 256) -> Tensor:
    return torch.randint(low, high, (count, 3, 20, 30), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def luma(images: Tensor) -> Tensor:
    return torch.einsum("c,bchw->b", torch.tensor([0.299, 0.587, 0.114]), images) / images[0, 0].numel()


def exposed(images: Tensor, gain: float) -> Tensor:
    """What a camera would have written: the gain in floating point, rounded to 8 bits, clipped at white."""
    return (images.double() * gain).round().clamp(max=255).to(torch.uint8)


def test_every_image_is_brought_to_one_brightness_and_keeps_its_contrast() -> None:
    images = photographs()
    images[1] //= 3
    found = level_exposure(images)
    assert found.dtype == torch.float32 and torch.allclose(luma(found), torch.tensor(MIDDLE), rtol=1e-5)
    ratio = found / images.clamp(min=1)
    assert torch.allclose(ratio[images > 0], ratio.amax((1, 2, 3), keepdim=True).expand_as(ratio)[images > 0])


def test_a_gain_that_8_bits_can_hold_cancels_exactly() -> None:
    images = photographs(high=64)
    for gain in (2, 3, 4):
        assert torch.allclose(level_exposure(images * gain), level_exposure(images), rtol=1e-6)


def test_highlights_are_not_clipped() -> None:
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    images[..., :2] = 255
    assert level_exposure(images).max().item() == pytest.approx(4 * MIDDLE, rel=1e-5)


def test_a_black_image_stays_dark() -> None:
    assert (level_exposure(torch.zeros(1, 3, 8, 8, dtype=torch.uint8)) == 0).all()
    one = level_exposure(torch.ones(1, 3, 8, 8, dtype=torch.uint8))
    assert torch.allclose(one, torch.tensor(MOST / 255)) and MOST / 255 < MIDDLE


def test_an_images_exposure_does_not_depend_on_its_batch() -> None:
    images = photographs(5)
    assert torch.equal(level_exposure(images), torch.cat([level_exposure(image[None]) for image in images]))


def brick() -> tuple[Tensor, Tensor]:
    """A quarter of the training images and the normal test images of brick, (N, 3, 128, 128)."""
    samples = Textures().samples("brick")

    def opened(split: str) -> Tensor:
        paths = [sample.path for sample in samples if sample.split == split and not sample.anomalous]
        return torch.from_numpy(np.stack([read_image(path) for path in paths])).permute(0, 3, 1, 2).contiguous()

    return opened("train")[::4], opened("test")


def detector(train: Tensor, exposure: str) -> Callable[[Tensor], Tensor]:
    """Images to scores (N,), by the Gaussian on features: no noise is drawn, so that the image alone counts."""
    representation = Features(EfficientNetLite((4, 10)), exposure=exposure)
    raw = torch.cat([representation.extract(part) for part in train.split(16)])
    representation.fit([(raw, None)])
    x0 = representation.encode(raw)
    denoiser, scorer, anomaly_map = Gaussian(x0.shape[1:]), Density(representation.channels), AnomalyMap(1)
    denoiser.fit([(x0, torch.zeros(len(x0), dtype=torch.int64))])

    def scores(images: Tensor) -> Tensor:
        x0 = torch.cat([representation.encode(representation.extract(part)) for part in images.split(16)])
        components = scorer(denoiser, x0, None, ImageNoise(0, torch.arange(len(x0))))
        maps = anomaly_map.map(components, images.shape[-2:])
        return anomaly_map.score(maps, torch.ones_like(maps, dtype=torch.bool))

    return scores


@torch.no_grad()
def test_a_global_gain_hardly_moves_a_score() -> None:
    train, test = brick()
    assert max((exposed(test, gain) == 255).double().mean().item() for gain in GAINS) < 0.003  # clipped at white
    moved = {}
    for exposure in ("level", "none"):
        scores = detector(train, exposure)
        own = scores(test)
        shifts = [(scores(exposed(test, gain)) - own).abs() / own.std() for gain in GAINS]
        moved[exposure] = torch.stack(shifts)  # (gains, images), in standard deviations of normal scores
    # What is left is the rounding, which deep features of a smooth photograph, as of brick, feel the most.
    assert moved["level"].mean() < 0.1 and moved["level"].max() < 0.3
    assert moved["level"].mean() < 0.4 * moved["none"].mean()
