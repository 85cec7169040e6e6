"""Against Pillow, torchvision and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter1d
from torchvision.transforms.v2 import functional as V

from backbench.views.resample import Axis, Interpolation, blur_matrices, filter_matrices, resample


def original(seed: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(0, 256, (8, 8, 3)), np.ones((8, 8, 1)))[:height, :width]
    return np.clip(coarse * 0.7 + rng.normal(40, 25, coarse.shape), 0, 255).astype(np.uint8)


BOXES = [(0, 0, 32, 32), (5, 3, 20, 17), (10, 12, 9, 14), (0, 20, 32, 8), (31, 31, 1, 1)]
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def cropped(
    image: np.ndarray, box: tuple[float, ...], size: int, kind: Interpolation, *, isolated: bool
) -> np.ndarray:
    values = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    top, left, height, width = (torch.tensor([float(x)]) for x in box)
    rows = filter_matrices(Axis(top, height, image.shape[0], size, kind, isolated))
    columns = filter_matrices(Axis(left, width, image.shape[1], size, kind, isolated))
    return resample(values, rows, columns, limit=255)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [32, 24, 40])
@pytest.mark.parametrize("box", BOXES)
def test_crop_then_resize_is_pillows(box: tuple[int, ...], size: int, kind: Interpolation):
    image = original(0, 32, 32)
    top, left, height, width = box
    cut = Image.fromarray(image[top : top + height, left : left + width])
    wide = cut.resize((size, height), FILTERS[kind])  # newer Pillows choose the order of the axes
    expected = np.asarray(wide.resize((size, size), FILTERS[kind]), dtype=np.float32)
    assert np.abs(cropped(image, box, size, kind, isolated=True) - expected).max() < 1.5


@pytest.mark.parametrize("box", [(3.25, 7.5, 20.4, 11.75), (0, 0, 40, 60), (10, 30, 30, 30)])
def test_resize_then_crop_is_pillows_with_a_box(box: tuple[float, ...]):
    image = original(1, 40, 60)
    top, left, height, width = box
    bounds = (left, top, left + width, top + height)
    expected = Image.fromarray(image).resize((24, 24), FILTERS["bilinear"], bounds)
    found = cropped(image, box, 24, "bilinear", isolated=False)
    assert np.abs(found - np.asarray(expected, dtype=np.float32)).max() < 1.5


def test_crop_is_torchvisions():
    image = original(2, 64, 48)
    tensor = torch.from_numpy(image).permute(2, 0, 1).float()
    expected = V.resized_crop(tensor, 7, 5, 50, 31, [32, 32], antialias=True)
    found = cropped(image, (7, 5, 50, 31), 32, "bilinear", isolated=True)
    assert np.abs(found - expected.permute(1, 2, 0).numpy()).max() < 0.05


def test_the_whole_image_at_its_size_is_itself():
    image = original(3, 16, 16)
    assert np.array_equal(cropped(image, (0, 0, 16, 16), 16, "bilinear", isolated=True), image)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.0])
def test_blur_is_a_gaussian(sigma: float):
    image = original(4, 32, 32).astype(np.float32)
    matrices = blur_matrices(torch.tensor([sigma]), 32)
    found = resample(torch.from_numpy(image).permute(2, 0, 1)[None], matrices, matrices)
    expected = image
    for axis in (0, 1):
        expected = gaussian_filter1d(expected, sigma, axis=axis, mode="nearest", radius=6)
    assert np.abs(found[0].permute(1, 2, 0).numpy() - expected).max() < 0.3


def test_no_sigma_is_no_blur():
    matrices = blur_matrices(torch.tensor([0.0, 1.0]), 8)
    assert torch.equal(matrices[0], torch.eye(8))
    assert torch.allclose(matrices.sum(2), torch.ones(2, 8))
