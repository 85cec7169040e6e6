"""Image sets whose images are files: loaded into memory, or decoded on demand."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

import numpy as np

from backbench.data.decode import decode, read_size
from backbench.data.limits import MEMORY_LIMIT_BYTES
from backbench.data.many import list_problems, map_threads, spread
from backbench.data.preprocess import Fit, Square, fitted_size
from backbench.errors import DataError
from backbench.images import ArrayImages, ImageSet, Labels, Pixels

_SAMPLE: Final = 64


@dataclass(frozen=True, slots=True)
class LabelledFiles:
    """Image files with their labels, (N,), int64.

    A source is a stable name of a file, the same wherever the dataset lies.
    """

    paths: Sequence[str]
    sources: Sequence[str]
    labels: Labels

    def __len__(self) -> int:
        return len(self.paths)


class FileImages(ImageSet):
    """Images that are decoded when they are needed, and brought to their size.

    ``size`` is the height and width that all share, ``None`` where they differ; with ``one_size``
    all must have that of the first.
    """

    def __init__(
        self,
        files: LabelledFiles,
        fit: Fit | None = None,
        *,
        size: tuple[int, int] | None = None,
        one_size: bool = False,
    ) -> None:
        super().__init__(files.labels, files.sources, size)
        self.paths = files.paths
        self.fit = fit
        self.one_size = one_size

    def image(self, index: int) -> Pixels:
        """Return one image, (H, W, 3), uint8; the file may have gone since it was verified."""
        return decode(self.paths[index], self.fit)


def estimate_bytes(paths: Sequence[str], fit: Fit | None) -> int:
    """Estimate the bytes of decoded images by the headers of up to 64 of them."""
    found = [height * width * 3 for height, width in sampled_sizes(paths, fit)]
    return round(len(paths) * sum(found) / len(found)) if found else 0


def load_images(
    files: LabelledFiles,
    *,
    fit: Fit | None = None,
    one_size: bool = False,
    verify: bool = True,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> ImageSet:
    """Open images, in memory if they are small and of one size.

    Args:
        files: The images.
        fit: What to make of each; ``None`` keeps each image's own size.
        one_size: Whether an image of another size than the first is a problem.
        verify: Read every image now, even if they are not kept.
        memory_limit_bytes: Most that the decoded images may take together.

    Returns:
        One array where all images share one size and stay within the limit; else a set that
        decodes on demand. The size of a set that is not verified is that of up to 64 images.
    """
    size = shared_size(files.paths, fit)
    shape = None if size is None else (*size, 3)
    small = shape is not None and len(files) * int(np.prod(shape)) <= memory_limit_bytes
    if not (small or verify):
        return FileImages(files, fit, size=size, one_size=one_size)
    pixels = np.empty((len(files), *shape), np.uint8) if shape and small else None

    def read(index: int) -> str | bool:
        """Return what is wrong with an image, or whether it is of the expected size."""
        try:
            image = decode(files.paths[index], fit)
        except DataError as error:
            return str(error)
        if image.shape != shape:
            return say_size(files.paths[index], image.shape[:2], size) if one_size else False
        if pixels is not None:
            pixels[index] = image
        return True

    outcomes = map_threads(read, range(len(files)))
    problems = [outcome for outcome in outcomes if isinstance(outcome, str)]
    if problems:
        head = f"{len(problems)} of {len(files)} images cannot be used; mend or remove them"
        raise DataError(list_problems(head, problems))
    if not all(outcomes):
        return FileImages(files, fit, one_size=one_size)
    if pixels is not None:
        return ArrayImages(pixels, files.labels, files.sources)
    return FileImages(files, fit, size=size, one_size=one_size)


def shared_size(paths: Sequence[str], fit: Fit | None = None) -> tuple[int, int] | None:
    """Return the height and width that up to 64 of the images share, by their headers.

    ``None`` where those differ, or none of them has a header.
    """
    if isinstance(fit, Square):
        return fit.side, fit.side
    sizes = sampled_sizes(paths, fit)
    first = next(sizes, None)
    return first if all(one == first for one in sizes) else None


def sampled_sizes(paths: Sequence[str], fit: Fit | None) -> Iterator[tuple[int, int]]:
    """Yield the heights and widths of up to 64 of the images, by their headers."""
    for index in spread(len(paths), _SAMPLE):
        with suppress(DataError):  # loading names it, with all the others
            yield fitted_size(read_size(paths[index]), fit)


def say_size(path: str, found: tuple[int, ...], size: tuple[int, int] | None) -> str:
    """Report that an image has another height and width than the others."""
    usual = size or (0, 0)
    here, there = f"{found[1]} x {found[0]}", f"{usual[1]} x {usual[0]}"
    return f"{path}: {here} px, where others have {there}; set val_size"
