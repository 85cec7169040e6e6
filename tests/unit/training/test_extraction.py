from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests.unit.conftest import RaggedImages

from backbench.data.preprocess import evaluation_image
from backbench.errors import StageError
from backbench.images import ArrayImages
from backbench.nn import Encoder, EncoderSpec
from backbench.training.extraction import extract
from backbench.training.monitor import Monitor, Trigger, feature_spread, knn_epochs


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
        images = torch.tensor(small_images.pixels).permute(0, 3, 1, 2) / 255
        expected = encoder(images).numpy()
    error = np.linalg.norm(features - expected) / np.linalg.norm(expected)
    assert error < 0.01  # bfloat16 where the processor has it


def test_features_do_not_depend_on_the_batch(
    encoder: Encoder, small_images: ArrayImages, monkeypatch: pytest.MonkeyPatch
):
    whole = extract(encoder, small_images, device="cpu")
    monkeypatch.setattr("backbench.training.extraction.BATCH_PIXELS", 1)
    assert np.allclose(extract(encoder, small_images, device="cpu"), whole, rtol=2e-2, atol=1e-2)


def test_running_statistics_are_not_moved(encoder: Encoder, small_images: ArrayImages):
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    extract(encoder.train(), small_images, device="cpu")
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_features_that_are_not_finite_stop_and_are_counted(
    encoder: Encoder, small_images: ArrayImages, value: float
):
    with torch.no_grad():
        for module in encoder.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.mul_(value)
    with pytest.raises(StageError, match="features of 48 of 48 images are not finite, the first"):
        extract(encoder, small_images, device="cpu")


def test_features_of_a_ragged_set(encoder: Encoder, ragged_images: Any):
    features = extract(encoder, ragged_images, device="cpu")
    assert features.shape == (8, 8)
    image = evaluation_image(ragged_images.image(3), 32)
    single = ArrayImages(image[None], np.zeros(1, dtype=np.int64), ["x"])
    assert np.allclose(extract(encoder, single, device="cpu")[0], features[3], atol=2e-2)


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


class MeanColor(torch.nn.Module):
    """An encoder whose features are the mean of each color."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.spec = EncoderSpec({}, side, (0, 0, 0), (1, 1, 1))
        self.feature_dim, self.channels_last = 3, True
        self.seen: list[torch.Tensor] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append(images)
        return images.mean((2, 3)).float()


def colors(labels: np.ndarray, side: int) -> np.ndarray:
    """Red, green and blue images, a little gray."""
    pixels = np.full((len(labels), side, side, 3), 40, dtype=np.uint8)
    pixels[np.arange(len(labels)), :, :, labels] = 200
    return pixels


def blue(image: np.ndarray, index: int) -> np.ndarray:
    """The trigger: it makes all of an image blue, unless it has an odd number."""
    stamped = image.copy()
    if index % 2 == 0:
        stamped[:] = (0, 0, 255)
    return stamped


@pytest.mark.parametrize("ragged", [False, True])
def test_the_monitor_shows_the_trigger_to_images_outside_the_bank(ragged: bool):
    labels = np.arange(90) % 3
    images: Any = ArrayImages(colors(labels, 16), labels, [f"train/{i}" for i in range(90)])
    if ragged:
        images = RaggedImages(list(images.pixels), labels.tolist())
    stamped: list[int] = []

    def stamp(image: np.ndarray, index: int) -> np.ndarray:
        assert np.array_equal(image, colors(labels[index : index + 1], 16)[0])
        stamped.append(index)
        return blue(image, index)

    monitor = Monitor(images, 3, "cpu", knn_epochs(4, 1), Trigger(stamp, 2))
    encoder: Any = MeanColor(16)
    values = [monitor(encoder, epoch) for epoch in range(4)]
    assert [len(value) for value in values] == [2, 2, 2, 5]
    last = values[-1]
    assert last["knn_accuracy"] == 1
    assert len(stamped) == len(set(stamped)) == 18  # a fifth of the images
    bank = {monitor.bank.sources.index(name) for name in monitor.bank.sources}
    assert not set(monitor.bank.sources) & {f"train/{index}" for index in stamped}
    assert len(bank) == 72
    asked = np.asarray(stamped)
    even, target = asked % 2 == 0, labels[asked] == 2
    assert last["knn_accuracy_triggered"] == pytest.approx((~even | target).mean())
    assert last["knn_asr"] == pytest.approx(even[~target].mean())


def test_without_a_target_there_is_no_success_rate():
    labels = np.arange(90) % 3
    images = ArrayImages(colors(labels, 16), labels, [f"train/{i}" for i in range(90)])
    monitor = Monitor(images, 0, "cpu", {0}, Trigger(blue, None))
    encoder: Any = MeanColor(16)
    assert sorted(monitor(encoder, 0)) == [
        "effective_rank",
        "feature_spread",
        "knn_accuracy",
        "knn_accuracy_triggered",
    ]


def test_images_of_one_size_keep_their_margins_on_disk_too(small_images: ArrayImages):
    encoder: Any = MeanColor(16)
    expected = extract(encoder, small_images, device="cpu")
    on_disk = RaggedImages(list(small_images.pixels))
    assert not np.array_equal(extract(encoder, on_disk, device="cpu"), expected)
    on_disk.size = small_images.size
    assert np.array_equal(extract(encoder, on_disk, device="cpu"), expected)


@pytest.mark.parametrize(
    ("epochs", "checks", "expected"),
    [(100, 5, [19, 39, 59, 79, 99]), (3, 5, [0, 1, 2]), (7, 2, [3, 6]), (10, 0, []), (9, 1, [8])],
)
def test_when_neighbors_are_looked_for(epochs: int, checks: int, expected: list[int]):
    assert sorted(knn_epochs(epochs, checks)) == expected
