"""What unit tests share."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from backbench.images import ArrayImages, ImageSet, Pixels
from backbench.system import cores


def make_small_images() -> ArrayImages:
    """Make 48 images of 32 pixels in three classes that differ in color."""
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 3
    pixels = rng.integers(0, 120, (48, 32, 32, 3))
    pixels[np.arange(48), :, :, labels] += 120
    return ArrayImages(pixels.astype(np.uint8), labels, [f"train/{i}" for i in range(48)])


@pytest.fixture
def small_images() -> ArrayImages:
    return make_small_images()


def give_cores(
    monkeypatch: pytest.MonkeyPatch, numbers: list[int], quota: float | None = None
) -> None:
    """Let the machine have these cores, and its container this quota of them."""
    monkeypatch.setattr(cores, "usable_cores", lambda: numbers)
    monkeypatch.setattr(cores, "cpu_quota", lambda: quota)


class RaggedImages(ImageSet):
    """Images of many sizes; remembers which were asked for."""

    def __init__(self, images: list[Pixels], labels: list[int] | None = None) -> None:
        super().__init__(
            np.asarray(labels or [0] * len(images), dtype=np.int64),
            tuple(f"train/{i}" for i in range(len(images))),
        )
        self._images = images
        self.asked: list[int] = []

    def image(self, index: int) -> Pixels:
        self.asked.append(index)
        return self._images[index]


def smooth(rng: np.random.Generator, height: int, width: int) -> Pixels:
    """An image with structure at all scales."""
    coarse = np.kron(rng.integers(0, 256, (4, 4, 3)), np.ones((32, 32, 1)))[:height, :width]
    return np.clip(coarse * 0.7 + rng.normal(40, 25, coarse.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def ragged_images() -> RaggedImages:
    rng = np.random.default_rng(1)
    sizes = [(100, 80), (64, 128), (90, 90), (70, 65), (128, 60), (77, 99), (65, 65), (80, 100)]
    return RaggedImages([smooth(rng, *size) for size in sizes], [0, 1] * 4)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
