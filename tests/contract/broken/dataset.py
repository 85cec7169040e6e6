"""Datasets. This module must not import torch, as the module of a dataset must not."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from backbench.images import ImageSet
from backbench.plugin import ArrayImages, Dataset, DatasetInfo, DatasetMetadata
from backbench.testing import DatasetContract
from tests.contract.broken import broken

METADATA = DatasetMetadata(("ant", "bee"), 6, 4, (8, 8), (3, 3))


class Right(Dataset):
    """Noise of two classes."""

    def metadata(self):
        return METADATA

    def fingerprint(self, hash_file):
        return "noise, version 1"

    def load(self, split, *, verify=True):
        count = 6 if split == "train" else 4
        rng = np.random.default_rng(count)
        pixels = rng.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8)
        labels = np.arange(count) % 2
        return ArrayImages(pixels, labels, [f"{split}/{index}" for index in range(count)])


class Kit(DatasetContract):
    __test__ = False
    info = DatasetInfo(name="noise", summary="Noise.", target=f"{__name__}:Right")
    sample: Any = Right

    def implementation(self):
        return self.sample


def harness(kit: Kit, folder: Path) -> None:
    from backbench.model import StageKind
    from backbench.testing.hygiene import run_once

    run_once(folder, kit, StageKind.DATASET)


class Listed(ImageSet):
    """Images of any size and type."""

    def __init__(self, images: Any, labels: Any, sources: Any, size: Any = None) -> None:
        super().__init__(labels, sources, size)
        self.images = images

    def image(self, index):
        return self.images[index]


_METADATA, _LABELS = "test_metadata_are_what_is_loaded", "test_labels_are_classes"
_RGB, _AGAIN = "test_images_are_rgb_bytes", "test_loading_again_gives_the_same"
_PRINT = "test_fingerprint_is_stable"


@broken(_METADATA, "train: 7 images announced, 6 found")
class AnnouncesMore(Right):
    """It announces more images than there are."""

    def metadata(self):
        return replace(METADATA, train=7, train_per_class=(4, 3))


@broken(_METADATA, "2 images of class 'ant' announced, 3 found")
class AnnouncesOtherClasses(Right):
    """It announces other numbers of images of the classes."""

    def metadata(self):
        return replace(METADATA, train_per_class=(2, 4))


@broken(_METADATA)
class AnnouncesAnotherSize(Right):
    """It announces another size than its images have."""

    def metadata(self):
        return replace(METADATA, size=(16, 16))


@broken(_METADATA)
class AnnouncesOthersEachTime(Right):
    """It names its classes otherwise at each call."""

    calls = 0

    def metadata(self):
        type(self).calls += 1
        return replace(METADATA, classes=("ant", f"bee {self.calls}"))


@broken("test_classes_have_names_of_their_own")
class ClassesOfOneName(Right):
    """Two of its classes have one name."""

    def metadata(self):
        return replace(METADATA, classes=("ant", "ant"))


@broken(_LABELS, r"a label is outside .0, 2.")
class CountsFromOne(Right):
    """Its labels count from 1."""

    def load(self, split, *, verify=True):
        images = super().load(split)
        return ArrayImages(images.pixels, images.labels + 1, images.sources)


@broken(_LABELS, "a label is outside")
class UnknownIsMinusOne(Right):
    """One of its labels is -1."""

    def load(self, split, *, verify=True):
        images = super().load(split)
        labels = np.where(np.arange(len(images)) == 1, -1, images.labels)
        return ArrayImages(images.pixels, labels, images.sources)


@broken(_LABELS, "has no classes, and its images have labels")
class LabelsWithoutClasses(Right):
    """It announces no classes, and its images have labels."""

    def metadata(self):
        return replace(METADATA, classes=(), train_per_class=())


@broken(_LABELS, "labels float64")
class LabelsAreFloats(Right):
    """Its labels are floats."""

    def load(self, split, *, verify=True):
        images = super().load(split)
        return ArrayImages(images.pixels, images.labels.astype(float), images.sources)


@broken(_RGB, "pixels float64")
class ImagesAreFloats(Right):
    """Its pixels are floats in [0, 1]."""

    def load(self, split, *, verify=True):
        images = super().load(split)
        return ArrayImages(images.pixels / 255, images.labels, images.sources)


@broken(_RGB, "not uint8 .N, H, W, 3.")
class ImagesAreGray(Right):
    """Its images have one channel."""

    def load(self, split, *, verify=True):
        images = super().load(split)
        return ArrayImages(images.pixels[..., :1], images.labels, images.sources)


@broken(_RGB)
class StatesAWrongSize(Right):
    """Its set states a size that its images do not have."""

    def load(self, split, *, verify=True):
        images = super().load(split)
        return Listed(images.pixels, images.labels, images.sources, (9, 9))


@broken(_RGB, "gave a list, not an ImageSet")
class ReturnsAList(Right):
    """It returns a list of images."""

    def load(self, split, *, verify=True):
        return list(super().load(split).pixels)


@broken("test_validation_images_share_one_size")
class ValidationOfManySizes(Right):
    """One of its validation images is smaller."""

    def load(self, split, *, verify=True):
        images = super().load(split)
        shown = [*images.pixels[1:], images.pixels[0, :4]]
        return images if split == "train" else Listed(shown, images.labels, images.sources)


@broken("test_sources_name_one_image_each")
class SourcesOfOneName(Right):
    """All its images have one source."""

    def load(self, split, *, verify=True):
        images = super().load(split)
        return ArrayImages(images.pixels, images.labels, [split] * len(images))


@broken(_AGAIN)
class ShufflesEachTime(Right):
    """It shuffles its images by NumPy's global generator."""

    def load(self, split, *, verify=True):
        images = super().load(split)
        order = np.random.permutation(len(images))  # noqa: NPY002 - what is caught
        return ArrayImages(images.pixels[order], images.labels[order], images.sources)


@broken(_AGAIN)
class DarkerWithoutVerifying(Right):
    """It gives other images where they need not be verified."""

    def load(self, split, *, verify=True):
        images = super().load(split)
        return images if verify else ArrayImages(images.pixels // 2, images.labels, images.sources)


@broken(_AGAIN)
class DrawnByTheProcess(Right):
    """Its images follow from the process id."""

    def load(self, split, *, verify=True):
        images = super().load(split)
        pixels = images.pixels + np.uint8(os.getpid() % 251)
        return ArrayImages(pixels, images.labels, images.sources)


class Flipped(Listed):
    """Images that are flipped, or not, each time they are read."""

    def __init__(self, images: Any, labels: Any, sources: Any) -> None:
        super().__init__(images, labels, sources)
        self.rng = np.random.default_rng(0)

    def image(self, index):
        image = super().image(index)
        return image[:, ::-1].copy() if self.rng.random() < 0.5 else image


@broken("test_an_image_is_the_same_each_time_it_is_read")
class AugmentsItsImages(Right):
    """It flips images by a generator of its own, which goes on with each read."""

    def load(self, split, *, verify=True):
        images = super().load(split)
        return Flipped(images.pixels, images.labels, images.sources)


@broken("test_validation_images_are_no_training_images")
class ValidatesOnTraining(Right):
    """Its validation images are the first of its training images."""

    def load(self, split, *, verify=True):
        images, train = super().load(split), super().load("train")
        return ArrayImages(train.pixels[: len(images)], images.labels, images.sources)


@broken("test_folders_of_classes_are_those_of_the_labels")
class NamesInAnotherOrder(Right):
    """It sorts the names of its classes, and counts labels in the order of folders."""

    def load(self, split, *, verify=True):
        images, folders = super().load(split), ("bee", "ant")
        names = [f"{folders[label]}/{index}.png" for index, label in enumerate(images.labels)]
        return ArrayImages(images.pixels, images.labels, [f"{split}/{name}" for name in names])


@broken(_PRINT)
class PrintOfTheObject(Right):
    """Its fingerprint has the address of the object."""

    def fingerprint(self, hash_file):
        return repr(self)


@broken(_PRINT)
class PrintOfTheTime(Right):
    """Its fingerprint has the time."""

    def fingerprint(self, hash_file):
        return f"{time.time() // 1000}"


@broken(_PRINT)
class PrintIsEmpty(Right):
    """Its fingerprint is empty."""

    def fingerprint(self, hash_file):
        return ""


@broken(_PRINT)
class PrintIsANumber(Right):
    """Its fingerprint is a number."""

    def fingerprint(self, hash_file):
        return 1


@broken(_METADATA, "raised FileNotFoundError")
class NotThere(Right):
    """It raises what the file system does."""

    def load(self, split, *, verify=True):
        return Path("no-such-folder/images.npy").read_bytes()
