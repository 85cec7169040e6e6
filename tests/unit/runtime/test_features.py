from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from backbench.images import ArrayImages
from backbench.nn import Encoder, EncoderSpec
from backbench.runtime.features import extract
from backbench.runtime.monitor import feature_spread, knn_accuracy, knn_epochs
from backbench.runtime.pictures import evaluation_picture


@pytest.fixture
def encoder() -> Encoder:
    backbone = {"name": "tiny-resnet", "widths": [8, 8], "strides": [1, 2], "stem_width": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Encoder(EncoderSpec(backbone, 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)))


def test_features_of_a_uniform_set(encoder: Encoder, small_images: ArrayImages):
    features = extract(encoder.train(), small_images, device="cpu")
    assert features.shape == (48, 8)
    assert features.dtype == np.float32
    assert encoder.training  # as it was
    encoder.eval()
    with torch.no_grad():
        images = torch.from_numpy(small_images.pixels).permute(0, 3, 1, 2) / 255
        expected = encoder(images).numpy()
    error = np.linalg.norm(features - expected) / np.linalg.norm(expected)
    assert error < 0.01  # bfloat16 where the processor has it


def test_features_do_not_depend_on_the_batch(
    encoder: Encoder, small_images: ArrayImages, monkeypatch: pytest.MonkeyPatch
):
    whole = extract(encoder, small_images, device="cpu")
    monkeypatch.setattr("backbench.runtime.features.BATCH_PIXELS", 1)
    assert np.allclose(extract(encoder, small_images, device="cpu"), whole, rtol=2e-2, atol=1e-2)


def test_running_statistics_are_not_moved(encoder: Encoder, small_images: ArrayImages):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    extract(encoder.train(), small_images, device="cpu")
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_read_only_pixels_are_taken_as_they_are(encoder: Encoder, small_images: ArrayImages):
    small_images.pixels.flags.writeable = False
    assert extract(encoder, small_images, device="cpu").shape == (48, 8)


def test_features_of_a_ragged_set(encoder: Encoder, ragged_images: Any):
    features = extract(encoder, ragged_images, device="cpu")
    assert features.shape == (8, 8)
    picture = evaluation_picture(ragged_images.image(3), 32)
    single = ArrayImages(picture[None], np.zeros(1, dtype=np.int64), ["x"])
    assert np.allclose(extract(encoder, single, device="cpu")[0], features[3], atol=2e-2)


@pytest.mark.parametrize("size", [(300, 400), (333, 231), (256, 256), (100, 640)])
def test_evaluation_pictures_are_the_published_ones(size: tuple[int, int]):
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    published = v2.Compose([v2.Resize(256), v2.CenterCrop(224)])
    expected = np.asarray(published(Image.fromarray(picture)))
    assert np.array_equal(evaluation_picture(picture, 224), expected)


def test_a_picture_of_the_right_size_is_itself():
    picture = np.zeros((224, 224, 3), dtype=np.uint8)
    assert evaluation_picture(picture, 224) is picture


def test_a_uniform_set_of_another_size_is_resized(encoder: Encoder, small_images: ArrayImages):
    side = encoder.spec.image_size
    large = small_images.pixels.repeat(2, axis=1).repeat(2, axis=2)
    assert large.shape[1] != side
    resized = np.stack(
        [
            np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BILINEAR))
            for one in large
        ]
    )
    names = small_images.sources
    found, expected = (
        extract(encoder, ArrayImages(pixels, small_images.labels, names), device="cpu")
        for pixels in (large, resized)
    )
    assert np.array_equal(found, expected)


def test_spread_is_one_on_the_sphere_and_zero_at_a_point():
    sphere = np.random.default_rng(0).normal(size=(4000, 32)).astype(np.float32)
    assert feature_spread(sphere) == pytest.approx(1, abs=0.02)
    assert feature_spread(np.ones((50, 32), dtype=np.float32)) == pytest.approx(0, abs=1e-4)


def test_knn_accuracy_counts_votes():
    bank = np.float32([[1, 0], [1, 0.1], [0, 1], [0.1, 1], [0, 2]])
    labels = np.array([0, 0, 1, 1, 1])
    queries = np.float32([[2, 0.1], [0.1, 3], [3, 0]])
    assert knn_accuracy(bank, labels, queries, np.array([0, 1, 1]), 2) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("epochs", "checks", "expected"),
    [(100, 5, [19, 39, 59, 79, 99]), (3, 5, [0, 1, 2]), (7, 2, [3, 6]), (10, 0, []), (9, 1, [8])],
)
def test_when_neighbours_are_looked_for(epochs: int, checks: int, expected: list[int]):
    assert sorted(knn_epochs(epochs, checks)) == expected
