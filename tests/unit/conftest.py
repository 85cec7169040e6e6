"""What unit tests share."""

from __future__ import annotations

import numpy as np
import pytest

from backbench.images import ArrayImages


@pytest.fixture
def small_images() -> ArrayImages:
    """48 pictures of 32 pixels in three classes that differ in colour."""
    rng = np.random.default_rng(0)
    labels = np.arange(48) % 3
    pixels = rng.integers(0, 120, (48, 32, 32, 3))
    pixels[np.arange(48), :, :, labels] += 120
    return ArrayImages(pixels.astype(np.uint8), labels, [f"train/{i}" for i in range(48)])
