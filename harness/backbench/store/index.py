"""The index of a dataset: JSON with a line for each name, so that one name is read by itself."""

from __future__ import annotations

import json
import mmap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import overload

import numpy as np

from backbench.errors import StoreError
from backbench.images import ImageSet
from backbench.plugin import Split
from backbench.system.json_text import to_json


def write_index(path: Path, classes: Sequence[str], splits: Mapping[Split, ImageSet]) -> None:
    """Write classes, and names and labels of each split."""
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"classes": {to_json(list(classes))}')
        for split, images in splits.items():
            names = ",\n".join(map(to_json, images.sources)) + "\n" * bool(len(images))
            labels = to_json(images.labels.tolist())
            file.write(f',\n"{split}": {{"sources": [\n{names}], "labels": {labels}}}')
        file.write("}\n")


class Names(Sequence[str]):
    """Names in a mapped index: only the position of each is in memory.

    As strings, the names of a million images take a hundred megabytes, in every process that
    looks at one of them.

    Raises:
        StoreError: If the file is no such index.
    """

    def __init__(self, path: Path, split: Split) -> None:
        try:
            with path.open("rb") as file:
                self._text = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: cannot be read: {error}") from error
        # A line that begins with a name has a backslash before each quotation mark within it.
        head = f'\n"{split}": {{"sources": [\n'.encode()
        found = self._text.find(head)
        if found < 0:
            raise StoreError(f"{path}: holds no names of {split}; run `backbench verify`")
        start = found + len(head)
        end = self._text.find(b"\n]", start - 1)
        lines = np.frombuffer(self._text[start : end + 1], np.uint8)
        ends = np.flatnonzero(lines == ord("\n"))
        self._positions = start + np.concatenate([[0], ends + 1])

    def __len__(self) -> int:
        return len(self._positions) - 1

    @overload
    def __getitem__(self, at: int) -> str: ...

    @overload
    def __getitem__(self, at: slice) -> tuple[str, ...]: ...

    def __getitem__(self, at: int | slice) -> str | tuple[str, ...]:
        if isinstance(at, slice):
            return tuple(self[index] for index in range(*at.indices(len(self))))
        index = range(len(self))[at]
        line = self._text[self._positions[index] : self._positions[index + 1]]
        name: str = json.loads(line.rstrip(b",\n"))
        return name
