from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from backbench.options.views import ViewOptions
from backbench.views import taps
from backbench.views.batches import RaggedBatch, UniformBatch
from backbench.views.boxes import crop_boxes
from backbench.views.randomness import Draws
from backbench.views.views import blur, random_view, view_parameters

CPU = torch.device("cpu")


def images(count: int, height: int = 32, width: int = 32) -> np.ndarray:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (count, 4, 4, 3)).repeat(8, 1).repeat(8, 2)
    return coarse[:, :height, :width].astype(np.uint8)


def uniform(pixels: np.ndarray, indices: list[int], epoch: int = 0, seed: int = 3) -> UniformBatch:
    chosen = np.asarray(indices)
    return UniformBatch(torch.from_numpy(pixels[chosen]), chosen, epoch=epoch, seed=seed)


def draws(count: int, view: int = 0) -> Draws:
    return Draws(1, 0, np.arange(count), view)


@pytest.mark.parametrize("color", ["exact", "linear"])
def test_a_view_does_not_depend_on_its_batch(color: str):
    pixels, options = images(12), ViewOptions.model_validate({"color": color})
    whole = random_view(uniform(pixels, list(range(12))), options, 24, 1)
    some = random_view(uniform(pixels, [7, 2, 11]), options, 24, 1)
    assert torch.allclose(some, whole[[7, 2, 11]], atol=1e-5)


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
def test_a_view_is_the_same_however_a_device_makes_it(kind: str, monkeypatch: pytest.MonkeyPatch):
    pixels, options = images(24), ViewOptions.model_validate({"interpolation": kind})
    here = random_view(uniform(pixels, list(range(24))), options, 24, 1)
    monkeypatch.setattr(taps, "in_cache", lambda _: False)
    there = random_view(uniform(pixels, list(range(24))), options, 24, 1)
    assert torch.allclose(here, there, atol=1e-5)


@pytest.mark.parametrize("change", ["epoch", "seed", "view"])
def test_views_change_with(change: str):
    pixels, options = images(4), ViewOptions()
    base = random_view(uniform(pixels, [0, 1, 2, 3]), options, 32, 0)
    batch = uniform(pixels, [0, 1, 2, 3], **({change: 1} if change != "view" else {}))
    other = random_view(batch, options, 32, int(change == "view"))
    assert not torch.equal(base[0], other[0])


def test_views_are_in_range_and_of_the_size():
    batch = uniform(images(16), list(range(16)))
    for kind in ("bilinear", "bicubic"):
        view = random_view(batch, ViewOptions.model_validate({"interpolation": kind}), 40, 0)
        assert view.shape == (16, 3, 40, 40)
        assert view.dtype == torch.float32
        assert view.min() >= -1e-6
        assert view.max() <= 1 + 1e-6


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("isolated", [True, False])
def test_uniform_and_ragged_images_give_the_same_crops(kind: str, isolated: bool):
    pixels = images(8)
    indices = np.arange(8)
    boxes = crop_boxes(draws(8), np.full((8, 2), 32), (0.2, 1.0), (0.75, 4 / 3))
    if not isolated:
        boxes = boxes * np.float32(0.9) + np.float32(0.3)
    flip = np.arange(8) % 2 == 0
    options = {"interpolation": kind, "flip": flip, "isolated": isolated}
    with ThreadPoolExecutor(1) as pool:
        ragged = RaggedBatch(list(pixels), indices, epoch=0, seed=3, device=CPU, pool=pool)
        expected = ragged.crop(boxes, 24, **options)
        assert np.array_equal(ragged.sizes, np.full((8, 2), 32))
    batch = uniform(pixels, list(range(8)))
    assert np.array_equal(batch.sizes, ragged.sizes)
    difference = (batch.crop(boxes, 24, **options) - expected).abs() * 255
    assert difference.mean() < 0.4
    assert difference.max() < (1.5 if kind == "bilinear" else 15)  # beside hard edges


def test_flip_mirrors():
    batch, boxes = uniform(images(2), [0, 1]), np.float32([[0, 0, 32, 32]] * 2)
    plain = batch.crop(boxes, 32)
    mirrored = batch.crop(boxes, 32, flip=np.array([True, False]))
    assert torch.allclose(mirrored[0], plain[0].flip(-1), atol=1e-6)
    assert torch.equal(mirrored[1], plain[1])


@pytest.mark.parametrize("size", [(32, 32), (300, 200), (40, 500)])
def test_boxes_keep_to_scale_ratio_and_image(size: tuple[int, int]):
    sizes = np.tile(size, (4000, 1))
    top, left, height, width = crop_boxes(draws(4000), sizes, (0.2, 1.0), (0.75, 4 / 3)).T
    assert (np.stack([top, left, height, width]) % 1 == 0).all()
    assert top.min() >= 0
    assert left.min() >= 0
    assert (top + height).max() <= size[0]
    assert (left + width).max() <= size[1]
    rounding = 1.2 if min(size) < 100 else 1.02
    assert (width / height).max() <= 4 / 3 * rounding
    assert (width / height).min() >= 3 / 4 / rounding
    if size != (40, 500):
        assert (width * height / np.prod(size)).min() > 0.2 / rounding


def test_boxes_have_torchvisions_distribution():
    from torchvision.transforms.v2 import RandomResizedCrop

    sizes = np.tile((60, 80), (3000, 1))
    ours = crop_boxes(draws(3000), sizes, (0.2, 1.0), (0.75, 4 / 3))
    transform = RandomResizedCrop(32, scale=(0.2, 1.0), ratio=(0.75, 4 / 3))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [transform.make_params([torch.empty(3, 60, 80)]) for _ in range(3000)]
    theirs = np.array([[p["top"], p["left"], p["height"], p["width"]] for p in drawn])
    assert np.abs(ours.mean(0) - theirs.mean(0)).max() < 1.0
    assert np.abs(ours.std(0) - theirs.std(0)).max() < 1.0


def test_a_box_that_never_fits_is_central():
    sizes = np.array([[10, 1000]])
    assert crop_boxes(draws(1), sizes, (0.9, 1.0), (0.75, 4 / 3)).tolist() == [[0, 493, 10, 13]]


def test_probabilities_and_strengths():
    options = ViewOptions(blur_sigma=(0.5, 1.5))
    drawn = view_parameters(draws(4000), np.full((4000, 2), 32), options)
    assert drawn.flip.mean() == pytest.approx(0.5, abs=0.03)
    assert drawn.jitter.active.mean() == pytest.approx(0.8, abs=0.03)
    assert drawn.jitter.gray.mean() == pytest.approx(0.2, abs=0.03)
    assert (drawn.sigma > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert drawn.sigma[drawn.sigma > 0].min() >= 0.5
    assert drawn.sigma.max() <= 1.5
    assert drawn.jitter.factors.min(0) == pytest.approx([0.6, 0.6, 0.6, -0.1], abs=0.01)
    assert drawn.jitter.factors.max(0) == pytest.approx([1.4, 1.4, 1.4, 0.1], abs=0.01)
    assert np.array_equal(np.sort(drawn.jitter.order, axis=1), np.tile(np.arange(4), (4000, 1)))
    orders = np.unique(drawn.jitter.order, axis=0, return_counts=True)[1]
    assert len(orders) == 24
    assert orders.min() > 100


def test_without_randomness_a_view_is_the_image():
    options = ViewOptions(scale=(1, 1), ratio=(1, 1), flip=0, jitter=0, grayscale=0, blur=0)
    pixels = images(3)
    view = random_view(uniform(pixels, [0, 1, 2]), options, 32, 0)
    expected = torch.from_numpy(pixels).permute(0, 3, 1, 2) / 255
    assert torch.allclose(view, expected, atol=1e-6)


def test_blur_touches_the_chosen_only():
    images = torch.rand(3, 3, 16, 16)
    result = blur(images.clone(), np.float32([0, 1.5, 0]))
    assert torch.equal(result[[0, 2]], images[[0, 2]])
    assert result[1].std() < 0.6 * images[1].std()
