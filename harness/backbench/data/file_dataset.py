"""Common parts of the datasets made of files."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from backbench.data.decode import read_size
from backbench.data.files import FileImages, LabelledFiles, load_images, shared_size
from backbench.data.fingerprint import converted_images, fingerprint_files, hash_all, same_content
from backbench.data.many import map_threads
from backbench.data.preprocess import Fit, ShortSide, Square, fitted_size, with_margin
from backbench.errors import DataError
from backbench.images import ImageSet
from backbench.plugin import Dataset, DatasetMetadata, Split

#: So many images are looked at to find the smallest; of more, an attack finds it in its stage.
_LOOKED_AT = 2000
#: Height and width of an image whose header cannot be read.
_UNKNOWN = 2**31

#: The square that is cut of validation images that differ in size and have no size set.
PUBLISHED: Final = Square(with_margin(224), 224)


@dataclass(frozen=True, slots=True)
class Listing:
    """The files of a dataset, whose labels are positions in ``classes``, and notes on others."""

    classes: tuple[str, ...]
    train: LabelledFiles
    val: LabelledFiles
    notes: tuple[str, ...] = ()


class FileDataset(Dataset):
    """A dataset whose images are files; its options have ``resize``, ``val_size``, ``cache``."""

    #: Notes for the user on the files' content; known once they are hashed.
    content_notes: tuple[str, ...] = ()

    @abstractmethod
    def list_files(self) -> Listing:
        """Find the files without reading an image; a DataError names every problem."""

    @cached_property
    def listing(self) -> Listing:
        """The files, found once."""
        found = self.list_files()
        if len(found.classes) != 1:
            return found
        note = f"all images are of class {found.classes[0]!r}: every accuracy is 1"
        return replace(found, notes=(*found.notes, note))

    def metadata(self) -> DatasetMetadata:
        """Return the metadata that is known without decoding an image.

        The size is that of up to 64 training and 64 validation images, by their headers.
        """
        classes, train, val = self.listing.classes, self.listing.train, self.listing.val
        size = shared_size(train.paths, self.fit("train"))
        size = size if size == self.val_image_size() else None
        return DatasetMetadata(
            classes=classes,
            train=len(train),
            val=len(val),
            size=size,
            smallest=() if size else self._smallest(),
            train_per_class=tuple(np.bincount(train.labels, minlength=len(classes)).tolist()),
        )

    def _smallest(self) -> tuple[tuple[int, int], ...]:
        """Return the least height and width by class, by the headers of sets that are not large."""
        train, val = self.listing.train, self.listing.val
        if len(train) + len(val) > _LOOKED_AT:
            return ()

        def sizes(paths: Sequence[str], fit: Fit | None) -> NDArray[np.int64]:
            def size(path: str) -> tuple[int, int]:
                try:
                    return fitted_size(read_size(path), fit)
                except DataError:  # loading names it, with all the others
                    return _UNKNOWN, _UNKNOWN

            return np.reshape(map_threads(size, paths), (-1, 2))

        own = sizes(train.paths, self.square("train"))
        every = sizes(val.paths, self.fit("val")).min(axis=0, initial=_UNKNOWN)
        found = []
        for label in range(len(self.listing.classes)):
            high, wide = own[train.labels == label].min(axis=0, initial=_UNKNOWN)
            found.append((min(int(high), int(every[0])), min(int(wide), int(every[1]))))
        return tuple(found)

    def fingerprint(self, hash_file: Callable[[str], str]) -> str:
        """Identify the content by the files' bytes, names and order, class names and sizes.

        Nothing else in the options decides what is loaded.
        """
        extra: dict[str, Any] = {
            "classes": self.listing.classes,
            "resize": self.options.resize,
            "val_size": self.options.val_size,
        }
        if isinstance(self.options.cache, int):
            extra["short_side"] = self.options.cache
        splits = self.listing.train, self.listing.val
        found = hash_all(splits, hash_file)
        hashes = [one.partition("\n")[0] for one in found]
        sources = [source for split in splits for source in split.sources]
        notes = (*converted_images(sources, found), *same_content(*splits, hashes))
        self.content_notes = notes
        return fingerprint_files(splits, extra, hashes)

    def load(self, split: Split, *, verify: bool = True) -> ImageSet:
        """Return the images of a split; those of the validation split share one size.

        Source: Saha et al. 2022, published code: training images at their native size,
            validation images with their short side at 256 px, center 224 px.
        """
        files = self.listing.train if split == "train" else self.listing.val
        try:
            return load_images(files, fit=self.fit(split), one_size=split == "val", verify=verify)
        except DataError as error:
            raise DataError(f"{split} split: {error}") from error

    def fit(self, split: Split) -> Fit | None:
        """Return how the images of a split are changed when they are read."""
        square = self.square(split)
        if square is None and split == "train" and isinstance(self.options.cache, int):
            return ShortSide(self.options.cache)
        return square

    def notes(self, *, content: bool = False) -> tuple[str, ...]:
        """Return notes on files that are passed over, or on the content of the hashed files."""
        return self.content_notes if content else self.listing.notes

    def val_per_class(self) -> list[int]:
        """Return the number of validation images of each class."""
        classes = len(self.listing.classes)
        counts: list[int] = np.bincount(self.listing.val.labels, minlength=classes).tolist()
        return counts

    def val_image_size(self) -> tuple[int, int] | None:
        """Return the height and width of the validation images, by up to 64 of their headers."""
        return shared_size(self.listing.val.paths, self.fit("val"))

    def originals(self) -> FileImages:
        """Return the training images as an attack meets them: not made smaller for the cache."""
        return FileImages(self.listing.train, self.square("train"))

    def square(self, split: Split) -> Square | None:
        """Return the square that is made of the images of a split; ``None`` if none is."""
        resize, val_size = self.options.resize, self.options.val_size
        if split == "val" and val_size is not None:
            return Square(with_margin(val_size), val_size)
        if resize is not None:
            return Square(resize, resize)
        if split == "val" and shared_size(self.listing.val.paths) is None:
            return PUBLISHED
        return None
