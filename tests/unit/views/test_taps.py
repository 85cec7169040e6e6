"""Filters without their zeros, against the matrices, which are tested against Pillow."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backbench.views.resample import (
    Axis,
    Interpolation,
    blur_matrices,
    filter_matrices,
    resample,
)
from backbench.views.taps import (
    SparseFilter,
    blur_by_taps,
    crop_by_taps,
    filter_taps,
    weighted_rows,
)

HEIGHT, WIDTH = 24, 40


def boxes(*, whole: bool) -> torch.Tensor:
    """Top, left, height, width: the image, its corners, a pixel, and some at random."""
    fixed = [(0, 0, HEIGHT, WIDTH), (0, 0, 5, 7), (19, 33, 5, 7), (23, 39, 1, 1), (2, 3, 20, 4)]
    rng = np.random.default_rng(0)
    sides = rng.uniform((1, 1), (HEIGHT, WIDTH), (40, 2))
    starts = rng.uniform(0, 1, (40, 2)) * ((HEIGHT, WIDTH) - sides)
    drawn = np.concatenate([starts, sides], axis=1)
    if whole:
        drawn = np.concatenate([np.floor(starts), np.maximum(1, np.floor(sides))], axis=1)
    return torch.from_numpy(np.concatenate([np.asarray(fixed), drawn])).float()


@pytest.mark.parametrize("size", [8, 24, 50])
@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
def test_a_crop_is_that_of_the_matrices(kind: Interpolation, size: int, *, isolated: bool):
    top, left, tall, wide = boxes(whole=isolated).unbind(1)
    images = torch.rand(len(top), 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0))
    matrices = [
        filter_matrices(Axis(*axis, size, kind, isolated))
        for axis in ((top, tall, HEIGHT), (left, wide, WIDTH))
    ]
    rows, columns = [
        filter_taps(Axis(*axis, size, kind, isolated))
        for axis in ((top, tall, HEIGHT), (left, wide, WIDTH))
    ]
    limit = 1.0 if kind == "bicubic" else None
    found = crop_by_taps(images.transpose(2, 3).contiguous(), rows, columns, limit=limit)
    expected = resample(images, *matrices, limit=limit)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 2e-5


def test_an_enlarged_crop_has_two_taps():
    start, length = torch.tensor([3.0, 0.0]), torch.tensor([7.0, HEIGHT])
    axis = Axis(start, length, HEIGHT, HEIGHT)
    assert filter_taps(axis).indices.shape == (2, HEIGHT, 2)
    assert filter_taps(axis._replace(interpolation="bicubic")).indices.shape == (2, HEIGHT, 4)


def test_flipped_filters_mirror_the_result():
    start, length = torch.tensor([3.0, 0.0]), torch.tensor([7.0, HEIGHT])
    taps = filter_taps(Axis(start, length, HEIGHT, 9))
    rows = torch.rand(2, 3, HEIGHT, 5)
    once, mirrored = weighted_rows(rows, taps), taps.flipped(torch.tensor([False, True]))
    found = weighted_rows(rows, mirrored)
    assert torch.equal(found[0], once[0])
    assert torch.equal(found[1], once[1].flip(1))


def test_a_row_is_the_weighted_sum_of_rows():
    rows = torch.tensor([[[[1.0, 2.0], [10.0, 20.0], [100.0, 200.0]]]])
    taps = SparseFilter(
        torch.tensor([[[0, 2], [1, 1]]]), torch.tensor([[[0.5, 0.25], [2.0, -1.0]]])
    )
    assert weighted_rows(rows, taps).tolist() == [[[[25.5, 51.0], [10.0, 20.0]]]]


def test_a_blur_is_that_of_the_matrices():
    sigma = torch.tensor([0.1, 0.5, 1.0, 2.0, 3.0])
    images = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    matrices = blur_matrices(sigma, 16)
    found = blur_by_taps(images, sigma)
    assert (found - resample(images, matrices, matrices)).abs().max() < 1e-5
