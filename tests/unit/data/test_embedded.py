"""The embedded world: deterministic, image by image, at every size."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from backbench.data.dataset_options import MAX_CLASSES
from backbench.data.embedded_classes import class_names
from backbench.data.embedded_drawing import render_split


def draw(split: str = "train", **changes: int) -> tuple[np.ndarray, np.ndarray]:
    sizes = {"classes": 4, "per_class": 3, "size": 32, "seed": 0, **changes}
    return render_split(split, **sizes)


def test_shapes_types_and_labels() -> None:
    pixels, labels = draw()
    assert pixels.shape == (12, 32, 32, 3)
    assert pixels.dtype == np.uint8
    assert labels.dtype == np.int64
    assert np.bincount(labels).tolist() == [3, 3, 3, 3]


def test_the_same_numbers_draw_the_same_images() -> None:
    assert np.array_equal(draw()[0], draw()[0])
    assert not np.array_equal(draw()[0], draw(seed=1)[0])
    assert not np.array_equal(draw()[0], draw("val")[0])


def test_a_image_does_not_depend_on_how_many_others_there_are() -> None:
    few, few_labels = draw()
    more, more_labels = draw(per_class=5, classes=7)
    for label in range(4):
        assert np.array_equal(few[few_labels == label], more[more_labels == label][:3])


def test_no_two_images_are_equal() -> None:
    pixels, _ = draw(per_class=20)
    assert len(np.unique(pixels.reshape(len(pixels), -1), axis=0)) == len(pixels)


@pytest.mark.parametrize("size", [64, 224])
def test_it_is_the_same_world_at_every_size(size: int) -> None:
    small, _ = draw(per_class=2)
    large, _ = draw(per_class=2, size=size)
    for little, big in zip(small, large, strict=True):
        reduced = np.asarray(Image.fromarray(big).resize((32, 32), Image.Resampling.BOX))
        difference = np.abs(reduced.astype(int) - little.astype(int))
        assert difference.mean() < 12


def test_class_names() -> None:
    names = class_names(MAX_CLASSES)
    assert len(set(names)) == MAX_CLASSES
    assert class_names(10) == names[:10]
    assert "pleated-lamp" in class_names(10)


def test_classes_differ_in_more_than_noise() -> None:
    """The mean color of objects differs, and so do images of one class: neither is a constant."""
    pixels, labels = draw(classes=10, per_class=30)
    colors = pixels.reshape(len(pixels), -1, 3).astype(float)
    saturation = colors.max(axis=2) - colors.min(axis=2)
    assert saturation.max(axis=1).min() > 20  # an object is in every image
    within = np.mean([pixels[labels == label].std(axis=0).mean() for label in range(10)])
    assert within > 10
