"""CIFAR-10, CIFAR-100 and STL-10 through torchvision."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np

from backbench.data.dataset_options import Stl10Options, TorchvisionOptions
from backbench.errors import DataError
from backbench.images import ArrayImages, ImageSet, Pixels, no_images
from backbench.plugin import Dataset, DatasetMetadata, Split

_CIFAR10: Final = "airplane automobile bird cat deer dog frog horse ship truck"
_CIFAR100: Final = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
    butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
    crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
    keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse
    mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy
    porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper
    snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television
    tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
_STL10: Final = "airplane bird car cat deer dog horse monkey ship truck"

#: Unlabelled images of STL-10.
_UNLABELLED: Final = 100_000


@dataclass(frozen=True, slots=True)
class Published:
    """Metadata of a published dataset.

    It has torchvision's class, the folder of its unpacked files below the root, the published
    archive and its checksum; the class names in the order of the labels, separated by white space;
    the number of training and test images, equal for all classes; and the side of the square
    images, pixels.
    """

    name: str
    folder: str
    archive: str
    md5: str
    classes: str
    train: int
    val: int
    side: int


class TorchvisionDataset(Dataset):
    """A published dataset; its test split is the validation split."""

    published: ClassVar[Published]
    options: TorchvisionOptions

    def metadata(self) -> DatasetMetadata:
        """Return the published metadata; the dataset is there, or may be fetched."""
        if not self.options.download and not self._folder.is_dir():
            raise DataError(self._say_absent())
        classes = tuple(self.published.classes.split())
        return DatasetMetadata(
            classes=classes,
            train=self.published.train,
            val=self.published.val,
            size=(self.published.side, self.published.side),
            train_per_class=(self.published.train // len(classes),) * len(classes),
        )

    def fingerprint(self, hash_file: Callable[[str], str]) -> str:  # noqa: ARG002 - see below
        """Name the published archive: torchvision checks the files against it at every load."""
        return f"{self.published.archive} md5:{self.published.md5}"

    def load(self, split: Split, *, verify: bool = True) -> ImageSet:  # noqa: ARG002 - always is
        """Return the images of a split; fetch the dataset first where that is allowed."""
        if not self._folder.is_dir():
            if not self.options.download:
                raise DataError(self._say_absent())
            self._fetch()
        try:
            pixels, labels = self._read(self.options.root, split)
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"{self._folder}: damaged or incomplete ({error}); remove it and fetch it again"
            ) from error
        sources = [f"{split}/{i:06d}" for i in range(len(labels))]
        return ArrayImages(pixels, np.asarray(labels, np.int64), sources)

    @property
    def _folder(self) -> Path:
        return self.options.root / self.published.folder

    def _read(self, root: Path, split: str, *, download: bool = False) -> tuple[Pixels, Any]:
        from torchvision import datasets

        kind = getattr(datasets, self.published.name)
        opened = kind(root, train=split == "train", download=download)
        return opened.data, opened.targets

    def _fetch(self) -> None:
        """Download beside the root and rename, so that a half-fetched set is never found."""
        root = self.options.root
        try:
            root.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=root, prefix=".fetch-") as folder:
                self._read(Path(folder), "train", download=True)
                if not self._folder.is_dir():  # else another process was faster
                    (Path(folder) / self.published.folder).rename(self._folder)
        except (RuntimeError, OSError) as error:
            raise DataError(
                f"{self.published.archive} cannot be fetched into {root} ({error}); "
                "fetch it by hand and unpack it there"
            ) from error

    def _say_absent(self) -> str:
        return (
            f"{self._folder}: no such folder; set download = true to fetch "
            f"{self.published.archive}, or unpack it in {self.options.root}"
        )


class Cifar10(TorchvisionDataset):
    """CIFAR-10.

    Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
    """

    published = Published(
        name="CIFAR10",
        folder="cifar-10-batches-py",
        archive="cifar-10-python.tar.gz",
        md5="c58f30108f718f92721af3b95e74349a",
        classes=_CIFAR10,
        train=50_000,
        val=10_000,
        side=32,
    )


class Cifar100(TorchvisionDataset):
    """CIFAR-100, by its fine labels.

    Source: Krizhevsky 2009, Learning Multiple Layers of Features from Tiny Images.
    """

    published = Published(
        name="CIFAR100",
        folder="cifar-100-python",
        archive="cifar-100-python.tar.gz",
        md5="eb9058c3a382ffc7106e4002c42a8d85",
        classes=_CIFAR100,
        train=50_000,
        val=10_000,
        side=32,
    )


class Stl10(TorchvisionDataset):
    """STL-10: its labelled images, or its unlabelled training images.

    Source: Coates et al. 2011, An Analysis of Single-Layer Networks in Unsupervised Feature
        Learning.
    Differs: Labelled and unlabelled images are not mixed in one training.
    """

    options: Stl10Options

    published = Published(
        name="STL10",
        folder="stl10_binary",
        archive="stl10_binary.tar.gz",
        md5="91f7769df0f17e558f3565bffb0c7dfb",
        classes=_STL10,
        train=5_000,
        val=8_000,
        side=96,
    )

    def metadata(self) -> DatasetMetadata:
        """Return the published metadata; without classes for the unlabelled images."""
        known = super().metadata()
        if not self.options.unlabelled:
            return known
        return replace(known, classes=(), train=_UNLABELLED, val=0, train_per_class=())

    def load(self, split: Split, *, verify: bool = True) -> ImageSet:
        """Return the images of a split; of the unlabelled images there is no validation split."""
        if self.options.unlabelled and split == "val":
            return no_images()
        return super().load(split, verify=verify)

    def _read(self, root: Path, split: str, *, download: bool = False) -> tuple[Pixels, Any]:
        from torchvision import datasets

        train = "unlabeled" if self.options.unlabelled else "train"
        split = train if split == "train" else "test"
        opened = datasets.STL10(root, split=split, download=download)
        return np.ascontiguousarray(opened.data.transpose(0, 2, 3, 1)), opened.labels
