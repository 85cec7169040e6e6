"""Contract of datasets."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from backbench.images import UNKNOWN, ImageSet
from backbench.plugin import Dataset, DatasetMetadata, Split
from backbench.testing.base import PluginContract, assert_light
from backbench.testing.purity import elsewhere, global_generators_untouched
from backbench.testing.samples import SPLITS

#: Share of validation images that may be copies of training images.
_COPIES = 0.1


class DatasetContract(PluginContract):
    """Subclass it, and set ``info`` and ``options`` that name a small dataset.

    Where it must be made first, set ``self.options`` in an autouse fixture of your class.
    """

    base = "Dataset"

    def dataset(self) -> Dataset:
        """Make the dataset anew, as each worker does."""
        kind, settings = self.implementation(), self.settings()
        made: Dataset = self.guarded("making the dataset", lambda: kind(settings))
        return made

    def announced(self) -> DatasetMetadata:
        """Return the metadata of the dataset, which is made anew."""
        return self.guarded("metadata", self.dataset().metadata)

    def load(self, split: Split, *, verify: bool = True) -> ImageSet:
        """Load a split of the dataset, which is made anew."""
        dataset = self.dataset()
        images: object = self.guarded("load", lambda: dataset.load(split, verify=verify))
        assert isinstance(images, ImageSet), (
            f"return an ImageSet, such as ArrayImages, from load, not a {type(images).__name__}"
        )
        return images

    def fingerprint(self, dataset: Dataset) -> str:
        """Return the fingerprint of a dataset."""
        found: object = self.guarded("fingerprint", lambda: dataset.fingerprint(sha256))
        assert isinstance(found, str), f"return a string from fingerprint, not {found!r}"
        return found

    def test_implementation_does_not_import_torch(self) -> None:
        """``backbench check`` reads datasets' metadata: their module must be light."""
        assert_light(self.info.target.partition(":")[0])

    def test_classes_have_names_of_their_own(self) -> None:
        """A dataset without classes is for pretraining: it has no validation images."""
        metadata = self.announced()
        classes = metadata.classes
        assert classes or not metadata.val, "announce the classes of the validation images"
        assert len(set(classes)) == len(classes), f"give each class a name of its own: {classes}"

    def test_metadata_are_what_is_loaded(self) -> None:
        """Numbers of images, of each class, and the common size are as announced."""
        metadata = self.announced()
        assert metadata == self.announced(), "return the same metadata from each call"
        train, val = self.load("train"), self.load("val")
        assert (len(train), len(val)) == (metadata.train, metadata.val), (
            f"announce the number of images of both splits: {(metadata.train, metadata.val)} are "
            f"announced, and {(len(train), len(val))} loaded"
        )
        known = train.labels[train.labels != UNKNOWN]
        counts = np.bincount(known, minlength=len(metadata.classes)).tolist()
        assert counts == list(metadata.train_per_class), (
            f"announce the training images of each class: train_per_class is "
            f"{metadata.train_per_class}, and {tuple(counts)} are loaded"
        )
        sized = metadata.size is not None
        for images in [one for one in (train, val) if sized and len(one)]:
            shapes = {images.image(index).shape[:2] for index in range(len(images))}
            assert shapes == {tuple(metadata.size or ())}, (
                f"announce the common size, or None where sizes differ: {metadata.size} is "
                f"announced, and {sorted(shapes)} are loaded"
            )

    def test_labels_are_classes(self) -> None:
        """Labels are int64, one an image, each the index of a class; all -1 without classes."""
        classes = len(self.announced().classes)
        for split in SPLITS:
            labels = self.load(split).labels
            assert labels.dtype == np.int64, f"give int64 labels, not {labels.dtype}"
            assert labels.ndim == 1, f"give a label for each image, (N,), not {labels.shape}"
            if not classes:
                assert (labels == UNKNOWN).all(), (
                    f"give the label {UNKNOWN} to images without classes ({split})"
                )
                continue
            assert labels.min() >= 0, f"give labels from 0 on, not {labels.min()} ({split})"
            assert labels.max() < classes, (
                f"give labels below {classes}, the number of classes, not {labels.max()} ({split})"
            )

    def test_images_are_rgb_bytes(self) -> None:
        """Every image is (H, W, 3), uint8, of the set's size, and as in the set's array."""
        for split in SPLITS:
            images = self.load(split)
            for index in range(len(images)):
                image = images.image(index)
                where = f"image {index} of {split}"
                assert image.dtype == np.uint8, f"give uint8 images: {where} is {image.dtype}"
                assert image.shape[2:] == (3,), (
                    f"give images (H, W, 3), grayscale as three equal channels: {where} is "
                    f"{image.shape}"
                )
                assert images.size in {None, image.shape[:2]}, (
                    f"set size to None where sizes differ: it is {images.size}, and {where} is "
                    f"{image.shape}"
                )
                assert images.pixels is None or np.array_equal(image, images.pixels[index]), (
                    f"give the same pixels by image(index) and by pixels[index]: {where} differs"
                )

    def test_validation_images_share_one_size(self) -> None:
        """Encoders are evaluated at one size."""
        val = self.load("val")
        shapes = sorted({val.image(index).shape for index in range(len(val))})
        assert len(shapes) == min(1, len(val)), (
            f"resize the validation images to one size: they have {shapes}"
        )

    def test_sources_name_one_image_each(self) -> None:
        """A manifest names images by their sources."""
        for split in SPLITS:
            images = self.load(split)
            assert len(images.sources) == len(images), (
                f"give a source for each image: {len(images.sources)} for {len(images)} images"
            )
            assert len(set(images.sources)) == len(images), (
                f"give each image a source of its own ({split})"
            )

    def test_loading_again_gives_the_same(self) -> None:
        for split in SPLITS:
            with global_generators_untouched():
                first = self.load(split)
                with elsewhere():
                    again = self.load(split, verify=False)
            same = np.array_equal(first.labels, again.labels)
            same = same and list(first.sources) == list(again.sources)
            same = same and all(
                np.array_equal(first.image(index), again.image(index))
                for index in range(len(first))
            )
            assert same, f"load the same images in the same order each time ({split})"

    def test_an_image_is_the_same_each_time_it_is_read(self) -> None:
        """Images of a set are read many times, in any order."""
        for split in SPLITS:
            images = self.load(split)
            first = [images.image(index).copy() for index in range(len(images))]
            other = [
                index
                for index in reversed(range(len(images)))
                if not np.array_equal(images.image(index), first[index])
            ]
            assert not other, (
                "return the same pixels each time an image is read, and leave augmentation to the "
                f"training: image {other[0]} ({split}) is another when it is read again"
            )

    def test_validation_images_are_no_training_images(self) -> None:
        """Published datasets have a few copies; more than a tenth are a mistake of the split."""
        train, val = self.load("train"), self.load("val")
        known = {_bytes(train, index) for index in range(len(train))}
        copies = sum(_bytes(val, index) in known for index in range(len(val)))
        assert copies <= _COPIES * len(val), (
            f"keep validation images out of the training set: {copies} of {len(val)} are in it, "
            "too (let a fixture of the contract draw all its images differently)"
        )

    def test_folders_of_classes_are_those_of_the_labels(self) -> None:
        """Folders in the source of an image that are called as a class are the label's."""
        classes = self.announced().classes
        for split in SPLITS:
            images = self.load(split)
            for source, label in zip(images.sources, images.labels.tolist(), strict=False):
                named = [folder for folder in _folders(source, split) if folder in classes]
                if named and 0 <= label < len(classes):
                    assert named[-1] == classes[label], (
                        "list the names of classes in the order of their labels: the image "
                        f"{source!r} has the label of class {classes[label]!r}"
                    )

    def test_fingerprint_is_stable(self) -> None:
        """The same content gives the same string, before and after loading, for every instance."""
        dataset = self.dataset()
        first = self.fingerprint(dataset)
        assert first, "return a string that identifies the content from fingerprint, not ''"
        self.guarded("load", lambda: dataset.load("train"))
        assert self.fingerprint(dataset) == first, "return the same fingerprint after loading"
        with elsewhere():
            other = self.fingerprint(self.dataset())
        assert other == first, (
            f"let the fingerprint follow from the content alone: {first!r} here, and {other!r} in "
            "another process"
        )


def _bytes(images: ImageSet, index: int) -> tuple[tuple[int, ...], bytes]:
    image = images.image(index)
    return image.shape, image.tobytes()


def _folders(source: str, split: Split) -> list[str]:
    """Return the folders of a source but for that of the split, which a class may be called as."""
    folders = source.split("/")[:-1]
    return folders[1:] if folders[:1] == [split] else folders


def sha256(path: str) -> str:
    """Return the SHA-256 of a file, 64 hexadecimal digits."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
