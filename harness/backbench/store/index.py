"""The names of a dataset's images, read from its index one by one."""

from __future__ import annotations

import json
import mmap
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, overload

import numpy as np

from backbench.errors import StoreError
from backbench.plugin import Split

#: The next string of a JSON list, and the text before it.
_NEXT: Final = re.compile(rb'[\s,]*("(?:[^"\\]|\\.)*")')


class Names(Sequence[str]):
    """Names in a mapped ``index.json``: only the position of each is in memory.

    As strings, the names of a million images take a hundred megabytes, in every process that
    looks at one of them.

    Args:
        path: ``index.json``.
        split: Whose names.

    Raises:
        StoreError: If the file is no such index.
    """

    def __init__(self, path: Path, split: Split) -> None:
        try:
            with path.open("rb") as file:
                self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read: {error}") from error
        # Within a string a quotation mark has a backslash before it, so that this is no string's.
        head = rb'"' + split.encode() + rb'"\s*:\s*\{\s*"sources"\s*:\s*\['
        opening = re.search(head, self._text)
        if opening is None:
            raise StoreError(f"{path}: holds no names of {split}; run `backbench verify`")
        self._places = np.fromiter(self._found(opening.end()), np.int64)

    def _found(self, at: int) -> Iterator[int]:
        while (found := _NEXT.match(self._text, at)) is not None:
            yield found.start(1)
            at = found.end()

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...

    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        if isinstance(at, slice):
            return tuple(self[one] for one in range(*at.indices(len(self))))
        found = _NEXT.match(self._text, int(self._places[at]))
        assert found is not None  # noqa: S101 - the place was found so
        name: str = json.loads(found.group(1))
        return name
