"""Fingerprint of a dataset's content, as one string; hashes of files, remembered."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from backbench.data.many import list_problems, map_threads
from backbench.errors import DataError
from backbench.system import files
from backbench.system.json_text import from_json, to_json

if TYPE_CHECKING:
    from backbench.data.files import LabelledFiles

_VERSION: Final = 3
#: A larger file of remembered hashes is not read.
_MOST_BYTES: Final = 1 << 30
#: A file changed this recently may change again within the same time stamp.
_SETTLED_NS: Final = 2_000_000_000


class FileHashes:
    """SHA-256 of files, remembered in a file while path, inode, size and times stay the same.

    Call it with a path, or :meth:`hash_many` with many; :meth:`save` at the end.
    """

    def __init__(self, cache_path: Path) -> None:
        self._cache_path = cache_path
        self._known = _read_cache(cache_path)
        self._changed = False

    def __call__(self, path: str) -> str:
        """Return the SHA-256 of a file, 64 hexadecimal digits."""
        return self.hash_many([path])[0]

    def hash_many(self, paths: Sequence[str]) -> list[str]:
        """Return the SHA-256 of each file, reading on several threads those not yet known."""
        return [one.partition("\n")[0] for one in self.look_many(paths)]

    def look_many(self, paths: Sequence[str]) -> list[str]:
        """Return the same, each with what of an image is converted in a second line."""
        keys = _keys(paths)
        pairs = zip(keys, paths, strict=True)
        unknown = {key: path for key, path in pairs if key not in self._known}
        hashed = map_threads(_look, list(unknown.values()))
        _stop_at([str(one) for one in hashed if isinstance(one, DataError)], len(paths))
        fresh = dict(zip(unknown, map(str, hashed), strict=True))
        latest = time.time_ns() - _SETTLED_NS
        settled = {key: one for key, one in fresh.items() if int(key.rpartition("|")[2]) < latest}
        self._known |= settled
        self._changed |= bool(settled)
        return [fresh.get(key) or self._known[key] for key in keys]

    def save(self) -> None:
        """Write what is known, by rename; where that is not allowed, do without."""
        if not self._changed:
            return
        content = to_json({"version": _VERSION, "hashes": self._known})
        with contextlib.suppress(OSError):
            files.write(self._cache_path, content, durable=False)
            self._changed = False


def hash_all(splits: Sequence[LabelledFiles], hash_file: Callable[[str], str]) -> list[str]:
    """Return the SHA-256 of each file of each split.

    A :class:`FileHashes` takes all at once, and adds what of an image is converted in a
    second line.
    """
    paths = [path for split in splits for path in split.paths]
    if isinstance(hash_file, FileHashes):
        return hash_file.look_many(paths)
    return [hash_file(path) for path in paths]


def same_content(train: LabelledFiles, val: LabelledFiles, hashes: Sequence[str]) -> Iterator[str]:
    """Count images that are another file byte by byte: an earlier one of their split, or of both.

    Files that are named twice are counted by those who read the lists.
    """
    splits = ("training", train, hashes[: len(train)]), ("validation", val, hashes[len(train) :])
    for what, images, found in splits:
        first = _first(found)
        pairs = [(index, first[one]) for index, one in enumerate(found) if first[one] != index]
        yield from _same(f"{what} images have the content of an earlier one", images, images, pairs)
    (_, _, of_train), (_, _, of_val) = splits
    first = _first(of_train)
    pairs = [(index, first[one]) for index, one in enumerate(of_val) if one in first]
    yield from _same("validation images have the content of a training image", val, train, pairs)


def _first(hashes: Sequence[str]) -> dict[str, int]:
    """Return the first position of each hash."""
    return dict(zip(reversed(hashes), reversed(range(len(hashes))), strict=True))


def _same(
    what: str, images: LabelledFiles, others: LabelledFiles, pairs: Sequence[tuple[int, int]]
) -> Iterator[str]:
    """Count pairs of files of equal content; of those with two labels, name the first."""
    pairs = [(own, other) for own, other in pairs if images.paths[own] != others.paths[other]]
    wrong = [(own, other) for own, other in pairs if images.labels[own] != others.labels[other]]
    if pairs:
        own, other = (wrong or pairs)[0]
        label = f", {len(wrong)} of them with another label" if wrong else ""
        yield (
            f"{len(pairs)} of {len(images)} {what}{label} "
            f"({images.sources[own]} is {others.sources[other]})"
        )


#: Conversions of images that are neither plain color nor gray.
_CONVERTED: Final = {
    "16-bit": "of 16 bits a channel (the upper 8 are kept)",
    "CMYK": "in CMYK or another color space",
    "alpha": "with an alpha channel (laid on white)",
    "frames": "with several frames (the first is taken)",
    "turned": "with an EXIF orientation (turned)",
}


def converted_images(sources: Sequence[str], found: Sequence[str]) -> Iterator[str]:
    """Count images that are converted, by what :func:`hash_all` returns."""
    groups: dict[str, list[str]] = {}
    for source, one in zip(sources, found, strict=True):
        for kind in one.partition("\n")[2].split():
            groups.setdefault(kind, []).append(source)
    if groups:
        counts = [
            f"{len(groups[kind])} {what}, as {groups[kind][0]}"
            for kind, what in _CONVERTED.items()
            if kind in groups
        ]
        yield f"of {len(found)} images are converted to 8-bit RGB: {'; '.join(counts)}"


def fingerprint_files(
    splits: Sequence[LabelledFiles], extra: dict[str, Any], hashes: Sequence[str]
) -> str:
    """Identify labelled files by content, names and order, wherever they lie, by 64 digits.

    Args:
        splits: The training and the validation files.
        extra: What else decides what is loaded: class names, size.
        hashes: SHA-256 of each file, as :func:`hash_all` returns them.
    """
    rest = iter(hashes)
    digest = hashlib.sha256(to_json(extra, sort_keys=True).encode())
    for split in splits:
        digest.update(f"\n{len(split)}\n".encode())
        for source, label in zip(split.sources, split.labels.tolist(), strict=True):
            row = f"{source}\0{next(rest)}\0{label}\n"
            digest.update(row.encode(errors="surrogateescape"))
    return digest.hexdigest()


def _read_cache(path: Path) -> dict[str, str]:
    """Return hashes by key; none where the cache is missing, damaged or of another version."""
    try:
        content = from_json(files.read_regular(path, _MOST_BYTES))
        hashes: dict[str, str] = content["hashes"] if content["version"] == _VERSION else {}
        whole = all(isinstance(value, str) for value in hashes.values())
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    return hashes if whole else {}


def _keys(paths: Sequence[str]) -> list[str]:
    """Return what hashes are remembered by: the path, and what moves when its file does."""
    keys, problems = [], []
    for one in paths:
        path = os.path.abspath(one)  # noqa: PTH100 - 60,000 at a time
        try:
            status = os.stat(path)  # noqa: PTH116 - 60,000 at a time
        except OSError as error:
            problems.append(f"{path}: {_strerror(error)}")
            continue
        if not stat.S_ISREG(status.st_mode):
            problems.append(f"{path}: not a regular file")
        keys.append("|".join(map(str, (path, *files.stamps(status)))))
    _stop_at(problems, len(paths))
    return keys


def _stop_at(problems: Sequence[str], count: int) -> None:
    if problems:
        raise DataError(list_problems(f"{len(problems)} of {count} files cannot be read", problems))


def _look(path: str) -> str | DataError:
    """Return the hash of a file and what of an image is converted, or what is wrong with it."""
    from backbench.data.decode import conversions  # late: it imports NumPy and Pillow

    try:
        found = files.sha256(path)
    except OSError as error:
        return DataError(f"{path}: {_strerror(error)}")
    converted = conversions(path)
    return f"{found}\n{converted}" if converted else found


def _strerror(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
