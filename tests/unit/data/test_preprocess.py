"""Images come to their size as torchvision brings them there."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from torchvision.transforms import v2

from backbench.data.preprocess import (
    ShortSide,
    Square,
    evaluation_image,
    fitted_pixels,
    fitted_size,
    with_margin,
)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize("size", [(24, 32), (23, 31), (31, 20), (17, 17)])
def test_square_is_torchvisions_resize_and_center_crop(size: tuple[int, int]):
    expected = v2.Compose([v2.Resize(18), v2.CenterCrop(15)])(Image.fromarray(noise(*size)))
    assert np.array_equal(fitted_pixels(noise(*size), Square(18, 15)), np.asarray(expected))
    assert fitted_size(size, Square(18, 15)) == (15, 15)


@pytest.mark.parametrize("size", [(24, 32), (49, 98), (31, 20), (12, 9)])
def test_only_a_large_image_becomes_smaller(size: tuple[int, int]):
    found = fitted_pixels(noise(*size), ShortSide(16))
    image = Image.fromarray(noise(*size))
    expected = v2.Resize(16)(image) if min(size) > 16 else image
    assert np.array_equal(found, np.asarray(expected))
    assert fitted_size(size, ShortSide(16)) == found.shape[:2]


@pytest.mark.parametrize("size", [(300, 400), (333, 231), (256, 256), (100, 640), (98, 49)])
def test_evaluation_images_are_the_published_ones(size: tuple[int, int]):
    published = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
    expected = np.asarray(published(Image.fromarray(noise(*size))))
    assert np.array_equal(evaluation_image(noise(*size), 224), expected)


def test_without_a_margin_the_short_side_is_the_square_s():
    expected = v2.Compose([v2.Resize(32), v2.CenterCrop(32)])(Image.fromarray(noise(50, 40)))
    assert np.array_equal(evaluation_image(noise(50, 40), 32, margin=False), np.asarray(expected))
    assert with_margin(32) == 36


def test_an_image_of_the_right_size_is_itself():
    image = noise(224, 224)
    assert evaluation_image(image, 224) is image
