"""Image files of every kind."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def gradient():
    """(24, 32, 3): every pixel has a color of its own."""
    x, y = np.meshgrid(np.arange(32), np.arange(24))
    return np.stack([8 * x, 10 * y, 255 - 4 * (x + y)], axis=-1).astype(np.uint8)


@pytest.fixture
def make_folder(tmp_path):
    """Make an image-folder of flat colors: ``make_folder(train={"cat": 3}, val={"cat": 1})``."""

    def make(root="my images", size=(8, 6), **splits):
        for split, classes in splits.items():
            for label, (name, count) in enumerate(sorted(classes.items())):
                folder = tmp_path / root / split / name
                folder.mkdir(parents=True)
                for i in range(count):
                    color = (10 * label, i, 255 * (split == "val"))
                    Image.new("RGB", size, color).save(folder / f"img {i:02d}.png")
        return tmp_path / root

    return make
