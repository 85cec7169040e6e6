"""A folder of images without classes, for pretraining."""

from __future__ import annotations

import os

import numpy as np

from backbench.data.dataset_options import UnlabelledFolderOptions
from backbench.data.file_dataset import FileDataset, Listing
from backbench.data.files import LabelledFiles, shared_size
from backbench.data.image_files import scan_class
from backbench.data.many import list_problems, spread
from backbench.errors import DataError
from backbench.images import UNKNOWN, ImageSet, no_images
from backbench.plugin import DatasetMetadata, Split


class UnlabelledFolder(FileDataset):
    """The images of a folder, nested folders included, without classes and validation images.

    Encoders are trained on it, and evaluated on a downstream dataset.
    """

    options: UnlabelledFolderOptions

    def list_files(self) -> Listing:
        """Find the images.

        Raises:
            DataError: If the folder is missing, holds no image, or a file cannot be read.
        """
        root = self.options.root
        if not root.is_dir():
            raise DataError(f"{root}: no such folder")
        found = scan_class(root)
        if found.problems:
            raise DataError(list_problems(f"{root} cannot be used", found.problems))
        if not found.images:
            raise DataError(f"{root}: there is no image in it")
        paths = [found.images[index] for index in spread(len(found.images), self.options.images)]
        sources = [os.path.relpath(path, root).replace(os.sep, "/") for path in paths]
        nothing = LabelledFiles((), (), np.empty(0, np.int64))
        labels = np.full(len(paths), UNKNOWN, np.int64)
        notes = tuple(found.passed.sentences(root))
        return Listing((), LabelledFiles(paths, sources, labels), nothing, notes)

    def metadata(self) -> DatasetMetadata:
        """Return the metadata that is known without decoding an image."""
        train = self.listing.train
        size = shared_size(train.paths, self.fit("train"))
        return DatasetMetadata(classes=(), train=len(train), val=0, size=size, train_per_class=())

    def load(self, split: Split, *, verify: bool = True) -> ImageSet:
        """Return the training images; there is no validation image."""
        return super().load(split, verify=verify) if split == "train" else no_images()
