"""The canvas has the shape of the training images, and an image and its mask come to lie on it together, unsquashed."""

from typing import get_args

import numpy as np
import pytest
from pictures import picture

from diffect.data.canvas import Aspect, choose_canvas, fit_to_canvas, inside

LONG, UPRIGHT, SQUARE = (500, 1240), (1240, 500), (512, 512)  # height, width


@pytest.mark.parametrize(
    ("sizes", "size", "canvas"),
    [
        ([SQUARE] * 5, 256, (256, 256)),
        ([LONG] * 5, 256, (256, 640)),  # 2.48 x 256 = 634.9
        ([UPRIGHT] * 5, 256, (640, 256)),
        ([LONG] * 5, 128, (128, 320)),
        ([(100, 111), (100, 90), (100, 108)], 256, (256, 256)),  # within 12%
        ([(100, 115)] * 3, 256, (256, 288)),
        ([(100, 1000)], 256, (256, 1024)),  # at most 4 to 1
        ([(1000, 100)], 100, (384, 100)),  # ... in steps of 32 pixels
        ([LONG] * 4 + [UPRIGHT] * 3, 256, (256, 256)),  # both ways: neither is the data's own
        ([LONG] * 7 + [UPRIGHT], 256, (256, 640)),  # one that lies across does not turn the others
        ([LONG] * 5 + [SQUARE] * 4, 256, (256, 640)),
        ([LONG] * 4 + [SQUARE] * 5, 256, (256, 256)),
        ([LONG], 41, (41, 96)),
        ([(100, 113)], 42, (42, 42)),  # 32 would be shorter than the short side
    ],
)
def test_the_canvas_follows_the_median_of_the_training_images(
    sizes: list[tuple[int, int]], size: int, canvas: tuple[int, int]
) -> None:
    assert choose_canvas(sizes, size, "pad", 4) == canvas
    assert choose_canvas(sizes, size, "stretch", 4) == (size, size)
    assert choose_canvas(sizes, size, "pad", 1) == (size, size)


def test_the_long_side_is_a_multiple_of_what_the_backbone_needs() -> None:
    assert choose_canvas([LONG], 224, "pad", 4, multiple=14) == (224, 560)  # 2.48 x 224 = 555.5
    assert choose_canvas([(100, 1000)], 252, "pad", 4, multiple=14) == (252, 1008)


def test_pad_keeps_the_aspect_and_mirrors_around() -> None:
    pixels = picture(1, 20, 40)
    mask = np.ones((20, 40), np.uint8)
    image, fitted, box = fit_to_canvas(pixels, mask, (40, 40), "pad")
    assert box == (10, 0, 20, 40)
    assert np.array_equal(image[10:30], pixels)
    assert np.array_equal(image[:10], pixels[:10][::-1]) and np.array_equal(image[30:], pixels[10:][::-1])
    assert fitted.sum() == 20 * 40 and fitted[10:30].all()
    image, _, box = fit_to_canvas(pixels, None, (40, 40), "stretch")
    assert box == (0, 0, 40, 40) and image.shape == (40, 40, 3)


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (301, 2), (37, 64)])
@pytest.mark.parametrize("canvas", [(33, 33), (16, 64), (50, 20)])
def test_any_shape_fits(shape: tuple[int, int], canvas: tuple[int, int]) -> None:
    for aspect in get_args(Aspect):
        image, mask, (top, left, height, width) = fit_to_canvas(picture(1, *shape), None, canvas, aspect)
        assert image.shape == (*canvas, 3) and mask.shape == canvas
        assert top >= 0 and left >= 0 and top + height <= canvas[0] and left + width <= canvas[1]
        assert height == canvas[0] or width == canvas[1]


def test_masks_take_the_nearest_pixel() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[16:32, 8:40] = 1
    _, fitted, _ = fit_to_canvas(picture(1, 64, 64), mask, (32, 32), "pad")
    assert fitted.sum() == mask.sum() // 4 and set(np.unique(fitted)) == {0, 1}


def test_a_long_image_keeps_its_detail_on_a_long_canvas() -> None:
    pixels = picture(1, *LONG)
    image, _, box = fit_to_canvas(pixels, None, (256, 640), "pad")
    assert box == (0, 2, 256, 635)  # 1240 x 256 / 500
    assert np.array_equal(image[:, :2], image[:, 3:1:-1])
    assert np.array_equal(image[:, 637:], image[:, 636:633:-1])


@pytest.mark.parametrize("shape", [LONG, UPRIGHT, SQUARE, (300, 900)])
@pytest.mark.parametrize("canvas", [(128, 320), (320, 128), (128, 128)])
def test_a_mask_stays_on_its_defect(shape: tuple[int, int], canvas: tuple[int, int]) -> None:
    pixels, mask = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    rows, columns = (slice(side // 4, side // 4 + side // 5) for side in shape)
    pixels[rows, columns], mask[rows, columns] = 255, 1
    image, fitted, box = fit_to_canvas(pixels, mask, canvas, "pad")
    (valid,) = inside(canvas, [box])
    shown = (image[..., 0] > 127) & valid  # the mirror image holds no defect
    assert fitted.sum() > 0 and not (fitted.astype(bool) & ~valid).any()
    assert np.count_nonzero(shown != fitted) <= 2 * sum(canvas) / 4  # half a pixel along its rim
    assert valid.sum() == box[2] * box[3] and box[2] / box[3] == pytest.approx(shape[0] / shape[1], rel=0.02)
