"""Contract of datasets."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import get_args

import numpy as np

from backbench.images import ImageSet
from backbench.plugin import Dataset, Split
from backbench.testing.base import PluginContract, assert_light

_SPLITS: tuple[Split, ...] = get_args(Split)


class DatasetContract(PluginContract):
    """Subclass it, and set ``info`` and ``options`` that name a small dataset.

    Where it must be made first, set ``self.options`` in an autouse fixture of your class.
    """

    base = "Dataset"

    def dataset(self) -> Dataset:
        """Make the dataset anew, as each worker does."""
        made: Dataset = self.implementation()(self.settings())
        return made

    def test_implementation_does_not_import_torch(self) -> None:
        """``backbench check`` reads datasets' metadata: their module must be light."""
        assert_light(self.info.target.partition(":")[0])

    def test_classes_have_names_of_their_own(self) -> None:
        classes = self.dataset().metadata().classes
        assert len(classes) > 0
        assert len(set(classes)) == len(classes)

    def test_metadata_are_what_is_loaded(self) -> None:
        """Numbers of images, of each class, and the common size are as announced."""
        metadata = self.dataset().metadata()
        train, val = self.dataset().load("train"), self.dataset().load("val")
        assert (len(train), len(val)) == (metadata.train, metadata.val)
        counts = np.bincount(train.labels, minlength=len(metadata.classes))
        assert tuple(counts.tolist()) == tuple(metadata.train_per_class)
        if metadata.size is not None:
            for images in (train, val):
                shapes = {images.image(index).shape[:2] for index in range(len(images))}
                assert shapes == {tuple(metadata.size)}

    def test_labels_are_classes(self) -> None:
        """Labels are int64, one an image, each the index of a class."""
        classes = len(self.dataset().metadata().classes)
        for split in _SPLITS:
            images = self.dataset().load(split)
            assert images.labels.dtype == np.int64
            assert images.labels.shape == (len(images),)
            assert images.labels.min() >= 0
            assert images.labels.max() < classes

    def test_images_are_rgb_bytes(self) -> None:
        """Every image is (H, W, 3), uint8, of the set's size, and as in the set's array."""
        for split in _SPLITS:
            images = self.dataset().load(split)
            assert isinstance(images, ImageSet)
            for index in range(len(images)):
                image = images.image(index)
                assert images.size in {None, image.shape[:2]}
                assert image.dtype == np.uint8
                assert image.ndim == 3
                assert image.shape[2] == 3
                if images.pixels is not None:
                    np.testing.assert_array_equal(image, images.pixels[index])

    def test_validation_images_share_one_size(self) -> None:
        """Encoders are evaluated at one size."""
        val = self.dataset().load("val")
        assert len({val.image(index).shape for index in range(len(val))}) == 1

    def test_sources_name_one_image_each(self) -> None:
        """A manifest names images by their sources."""
        for split in _SPLITS:
            images = self.dataset().load(split)
            assert len(set(images.sources)) == len(images.sources) == len(images)

    def test_loading_again_gives_the_same(self) -> None:
        for split in _SPLITS:
            first, again = self.dataset().load(split), self.dataset().load(split, verify=False)
            np.testing.assert_array_equal(first.labels, again.labels)
            assert list(first.sources) == list(again.sources)
            for index in range(len(first)):
                np.testing.assert_array_equal(first.image(index), again.image(index))

    def test_fingerprint_is_stable(self) -> None:
        """The same content gives the same string, before and after loading, for every instance."""
        dataset = self.dataset()
        first = dataset.fingerprint(sha256)
        dataset.load("train")
        assert first
        assert dataset.fingerprint(sha256) == first
        assert self.dataset().fingerprint(sha256) == first


def sha256(path: str) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
