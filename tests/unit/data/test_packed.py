"""Decoded images in one mapped file."""

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from backbench.data import packed
from backbench.data.packed import (
    ImageWriter,
    MappedArray,
    MappedImages,
    open_changed_images,
    open_images,
)
from backbench.errors import StoreError
from backbench.images import Overlay


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((2, 3), (1, 1), (5, 4))]


@pytest.fixture
def flat(tmp_path, images):
    with ImageWriter(tmp_path / "p.safetensors", np.array([7, 2, 30]), size=None) as writer:
        for image in images:
            writer.add(image)
    return tmp_path / "p.safetensors"


def test_anybody_can_read_the_file(flat, images):
    tensors = load_file(flat)
    assert tensors["indices"].tolist() == [7, 2, 30]
    assert tensors["sizes"].tolist() == [[2, 3], [1, 1], [5, 4]]
    assert tensors["pixels"].tobytes() == b"".join(one.tobytes() for one in images)


def test_images_by_number(flat, images):
    found = open_changed_images(flat)
    assert list(found) == [7, 2, 30]
    for number, image in zip(found, images, strict=True):
        np.testing.assert_array_equal(found[number], image)
        assert not found[number].flags.writeable
    assert found.get(3) is None


def test_images_of_one_size_by_number(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    with ImageWriter(tmp_path / "p.safetensors", np.array([9, 4]), size=(4, 5)) as writer:
        for image in images:
            writer.add(image)
    found = open_changed_images(tmp_path / "p.safetensors")
    assert list(found) == [9, 4]
    np.testing.assert_array_equal(found[4], images[1])
    assert not found[4].flags.writeable
    with pytest.raises(KeyError):
        found[0]


def test_pages_are_given_back_and_images_stay(flat, images, monkeypatch):
    """The map is emptied after every image here; what was handed out is still good."""
    monkeypatch.setattr(packed, "_RELEASE_BYTES", 0)
    found = open_changed_images(flat)
    held = [found[number] for number in found]
    for one, image in zip(held, images, strict=True):
        np.testing.assert_array_equal(one, image)


def test_pages_of_a_uniform_set_are_given_back_and_images_stay(tmp_path, monkeypatch):
    """The map is emptied after every image here, and after every batch."""
    monkeypatch.setattr(packed, "_RELEASE_UNIFORM_BYTES", 0)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), np.uint8)
    packed.write_images(tmp_path / "p.safetensors", pixels, np.arange(5))
    images = open_images(tmp_path / "p.safetensors", [str(one) for one in range(5)])
    held = [images.image(index) for index in range(5)]
    assert isinstance(images, MappedArray)
    images.passed(images.pixels.nbytes)
    np.testing.assert_array_equal(held, pixels)
    np.testing.assert_array_equal(images.pixels, pixels)


def test_a_damaged_file_is_named(flat, tmp_path):
    content = flat.read_bytes()
    for damaged in (content[:-1], content[:100], b"", b"\xff" * 600):
        flat.write_bytes(damaged)
        with pytest.raises(StoreError, match=r"p\.safetensors: damaged"):
            open_changed_images(flat)
    with pytest.raises(StoreError, match=r"gone\.safetensors: damaged"):
        open_changed_images(tmp_path / "gone.safetensors")


def test_a_poison_of_a_uniform_set_is_this_process_s_own(tmp_path):
    """Copy on write: the file and other readers keep the clean images."""
    path = tmp_path / "train.safetensors"
    pixels = np.arange(5 * 4 * 4 * 3, dtype=np.uint8).reshape(5, 4, 4, 3)
    save_file({"pixels": pixels, "labels": np.arange(5)}, path)
    before = path.read_bytes()
    clean = open_images(path, tuple("abcde"))
    assert isinstance(clean, MappedArray)
    assert not clean.pixels.flags.writeable
    poisoned = Overlay(clean, {3: np.full((4, 4, 3), 255, np.uint8)})
    np.testing.assert_array_equal(poisoned.pixels[3], 255)
    for index in (0, 1, 2, 4):
        np.testing.assert_array_equal(poisoned.pixels[index], pixels[index])
    np.testing.assert_array_equal(clean.pixels, pixels)
    assert path.read_bytes() == before


def test_an_index_of_other_images_is_refused(tmp_path, flat):
    with pytest.raises(StoreError, match="does not contain the images of its index"):
        MappedImages(flat, tuple("abc"))  # it has indices, and no labels
