"""Images that are read where they are used: files of a split, and parts of composed poisons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from backbench.data.attacker_images import AttackerImages, decode_masked
from backbench.data.decode import decode, read_size
from backbench.data.file_dataset import FileDataset
from backbench.data.files import FileImages
from backbench.data.many import map_threads
from backbench.data.preprocess import Square
from backbench.errors import DataError
from backbench.images import ImageSet, Pixels, read_only
from backbench.plugin import Dataset, Part, Split
from backbench.poison.poisoning import ImageRef, PartImage


class SplitImages:
    """The clean images of a split: files to be read where they are used, or pixels."""

    def __init__(self, data: Dataset, split: Split) -> None:
        self.split = split
        self.paths: Sequence[str] | None = None
        self.square: Square | None = None
        if isinstance(data, FileDataset):
            files = data.listing.train if split == "train" else data.listing.val
            self.paths, self.square = files.paths, data.square(split)
            self.images: ImageSet = FileImages(files, self.square)
        else:
            self.images = data.load(split, verify=False)
        self.labels, self.sources = self.images.labels, self.images.sources

    def __len__(self) -> int:
        return len(self.labels)

    def image(self, index: int) -> str | Pixels:
        """Return the path of an image's file, or its pixels."""
        return self.images.image(index) if self.paths is None else self.paths[index]

    def decoded(self, index: int) -> Pixels:
        """Return an image as it is before it is stamped."""
        return self.images.image(index)

    def ref(self, index: int) -> ImageRef:
        """Return the names of an image."""
        return ImageRef(index, self.sources[index], int(self.labels[index]))

    def sizes(self, indices: Sequence[int]) -> dict[tuple[int, int], str]:
        """Return the heights and widths of images, each with the name of an image that has it."""
        if self.square is not None:
            return {(self.square.side, self.square.side): self.sources[0]}
        if self.paths is None:
            size = self.images.size
            return {size: self.sources[0]} if size else {}
        paths = self.paths

        def size_of(index: int) -> tuple[int, int] | None:
            try:
                return read_size(paths[index])
            except DataError:
                return None

        found: dict[tuple[int, int], str] = {}
        for index, one in zip(indices, map_threads(size_of, indices), strict=True):
            if one is not None:
                found.setdefault(one, self.sources[index])
        return found


@dataclass(frozen=True, slots=True)
class PartFile:
    """An image that a poison is made of, which is read where the poison is made.

    ``path`` is that of its file; "" if ``read`` has the pixels.
    """

    part: Part
    source: str
    path: str
    read: Callable[[], Pixels]

    def opened(self) -> PartImage:
        """Read the image."""
        return PartImage(self.part.set, self.part.index, self.source, read_only(self.read()))


def part_file(part: Part, images: ImageSet) -> PartFile:
    """Return an image of a set, to be read in another process: not a copy of the whole set."""
    source, path = images.sources[part.index], ""
    if isinstance(images, FileImages):
        path = images.paths[part.index]
        read = partial(decode, path, images.fit)
    elif isinstance(images, AttackerImages):
        path = images.paths[part.index]
        read = partial(decode_masked, path)
    else:
        read = partial(read_only, images.image(part.index))
    return PartFile(part, source, path, read)
