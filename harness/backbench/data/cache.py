"""Decode the images of a split once, on all cores, into one file; continue what is begun.

The headers of all images give the position of each, so that processes write straight to the
file, whichever comes first. How many are done from the beginning is noted from time to time, each
time after they have reached the disk: a build that was killed is continued from there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from backbench.data.decode import decode, read_size
from backbench.data.files import FileImages, say_size
from backbench.data.many import list_problems, map_threads
from backbench.data.packed import HEADER_BYTES, around, offsets_of, shared_size
from backbench.data.preprocess import Fit, fitted_size
from backbench.errors import DataError
from backbench.system import files
from backbench.system.children import WORTH_PROCESSES, workers
from backbench.system.cores import pin_to
from backbench.system.json_text import from_json, to_json

#: It is noted how many images are done after so many bytes of them.
_NOTE_BYTES: Final = 256 << 20
#: Other stages may be running on the cores that builders are lent: those come first.
_NICE: Final = 19

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Layout:
    """Images of a cache, with the sizes that fix their positions.

    Args:
        images: The images.
        sizes: Their heights and widths, (N, 2); 0 of an image without a readable header.
    """

    images: FileImages
    sizes: NDArray[np.int64]

    @classmethod
    def of(cls, images: FileImages) -> Layout:
        """Read the headers of the images."""

        def size(path: str) -> tuple[int, int]:
            try:
                return fitted_size(read_size(path), images.fit)
            except DataError:
                return 0, 0  # decoding names it, with all the others

        found = map_threads(size, images.paths)
        return cls(images, np.array(found, np.int64).reshape(-1, 2))

    @property
    def total(self) -> int:
        """Bytes of all images, decoded."""
        return int(offsets_of(self.sizes)[-1])

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width that all images share; ``None`` where they differ."""
        return shared_size(self.sizes)

    def around(self) -> tuple[bytes, bytes]:
        """Return the bytes of the file before the images, and those after them."""
        return around((self.total,), labels=self.images.labels, sizes=self.sizes)


class Job(NamedTuple):
    """An image to decode: its file, its height and width by the header, where it goes in bytes."""

    path: str
    size: tuple[int, int]
    offset: int


def build(
    path: Path,
    layout: Layout,
    *,
    cores: Sequence[int] = (),
    progress: Progress = lambda _done: None,
) -> None:
    """Decode the images of a split into a file, unless it is there.

    An unfinished file (``….partial``, ``….json`` in the same folder) is continued; it gets its name
    when it is whole.

    Args:
        path: The file.
        layout: The images.
        cores: The processor's cores to work on; empty for one process without a core of its own.
        progress: Called with the number of images that are done since the last call.

    Raises:
        DataError: Naming the images that cannot be read, or if the disk has no room.
        StageError: If a worker process was killed.
    """
    if path.exists():
        return
    partial, note = path.with_suffix(".partial"), path.with_suffix(".json")
    path.parent.mkdir(parents=True, exist_ok=True)
    head, tail = layout.around()
    mark = hashlib.sha256(head + tail).hexdigest()
    done = _done(note, mark) if partial.exists() else 0
    if not done:
        _begin(partial, head, tail, layout.total)
    progress(done)
    problems = _decode(partial, layout, _Note(note, mark, partial, done), cores, progress)
    if problems:
        for one in (partial, note):  # mended images are another dataset's
            one.unlink(missing_ok=True)
        count = len(layout.sizes)
        head_line = f"{len(problems)} of {count} images cannot be used; mend or remove them"
        raise DataError(list_problems(head_line, problems))
    files.make_durable(partial)  # a file of this name is not looked at again
    partial.replace(path)
    note.unlink(missing_ok=True)


@dataclass
class _Note:
    """The file that has how many images of a layout are done; ``images`` is where they are."""

    path: Path
    layout: str
    images: Path
    done: int

    def write(self) -> None:
        """Write it down, once the images are on the disk."""
        files.make_durable(self.images)
        files.write(self.path, to_json({"layout": self.layout, "done": self.done}))


def _done(note: Path, mark: str) -> int:
    """Return how many images are done, of this layout."""
    try:
        content = from_json(note.read_text(encoding="utf-8"))
        return int(content["done"]) if content["layout"] == mark else 0
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def _begin(partial: Path, head: bytes, tail: bytes, total: int) -> None:
    free = shutil.disk_usage(partial.parent).free
    whole = len(head) + total + len(tail)
    if whole > free:
        raise DataError(
            f"{partial.parent}: {whole / 1e9:.1f} GB of decoded images, and "
            f'{free / 1e9:.1f} GB are free; set cache = "off", or a number of pixels (256)'
        )
    with partial.open("wb") as file:
        file.write(head)
        file.seek(total, os.SEEK_CUR)  # on most systems no block is taken for what is left out
        file.write(tail)


def _decode(
    partial: Path, layout: Layout, note: _Note, cores: Sequence[int], progress: Progress
) -> list[str]:
    """Decode what is not yet done; return what is wrong with images."""
    images = layout.images
    sizes = [(height, width) for height, width in layout.sizes.tolist()]
    usual = next((size for size in sizes if size[0]), None) if images.one_size else None
    starts: list[int] = (offsets_of(layout.sizes) + HEADER_BYTES).tolist()
    rest = range(note.done, len(sizes))
    jobs = (Job(images.paths[index], sizes[index], starts[index]) for index in rest)
    problems: list[str] = []
    noted = starts[note.done]
    try:
        said = _run(partial, images.fit, jobs, len(rest), cores)
        for index, problem in zip(rest, said, strict=True):
            if problem:
                problems.append(problem)
            elif usual not in {None, sizes[index]}:
                problems.append(say_size(images.paths[index], sizes[index], usual))
            if not problems:
                note.done = index + 1
            if starts[note.done] - noted > _NOTE_BYTES:
                note.write()
                noted = starts[note.done]
            progress(1)
    except BaseException:
        note.write()  # so that Ctrl-C loses nothing
        raise
    return problems


def _run(
    partial: Path, fit: Fit | None, jobs: Iterable[Job], count: int, cores: Sequence[int]
) -> Iterator[str]:
    """Yield what is wrong with each image, in order; "" where it is written."""
    if len(cores) < 2 or count < WORTH_PROCESSES:
        with _Target(partial, fit) as target:
            yield from map(target.take, jobs)
    else:
        with workers(len(cores), _taker, partial, fit, cores) as take:
            yield from take(jobs)


def _taker(path: Path, fit: Fit | None, cores: Sequence[int]) -> Callable[[Job], str]:
    """Return what decodes an image in a process of its own."""
    pin_to(cores)
    os.nice(_NICE)
    return _Target(path, fit).take


class _Target:
    """The file that images are written to, and what is made of each image."""

    def __init__(self, path: Path, fit: Fit | None) -> None:
        self._fit = fit
        self._file = path.open("r+b", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self._file.close()

    def take(self, job: Job) -> str:
        """Decode an image into its place; return what is wrong with it."""
        try:
            image = decode(job.path, self._fit)
        except DataError as error:
            return str(error)
        if image.shape[:2] != job.size:
            (height, width), said = image.shape[:2], job.size
            return f"{job.path}: {width} x {height} px, its header says {said[1]} x {said[0]}"
        content = np.ascontiguousarray(image).data.cast("B")
        written = 0
        while written < len(content):
            written += os.pwrite(self._file.fileno(), content[written:], job.offset + written)
        return ""
