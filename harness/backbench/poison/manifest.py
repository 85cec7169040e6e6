"""The manifest of a poison: a line for each image that it changes, with hashes of its pixels."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from backbench.images import Pixels
from backbench.plugin import Box
from backbench.plugin.recipes import TRAIN
from backbench.system.json_text import from_json, to_json

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


#: Bytes that are compared at a time.
_WORD: Final = 8


@dataclass(frozen=True, slots=True)
class PartEntry:
    """An image that a poison is made of: its set, index and stable name, and its pixels' hash."""

    set: str
    index: int
    source: str
    sha256: str


@dataclass(frozen=True, slots=True)
class ManifestEntry:
    """A line of a poison manifest: an image of a split, and its stamp.

    ``before`` and ``after`` are the SHA-256 of the image's shape and pixels before stamping, and
    after it, before any JPEG. ``boxes`` are in the order of pasting; ``opacity`` is the trigger's
    share in them; ``seed`` is that of this image's stamp.

    A poison that is composed has ``parts``, the images that it is made of, and ``size``, its height
    and width before any JPEG. An added poison has an index from the number of clean images on, no
    class (-1), and no image ``before``.
    """

    index: int
    source: str
    label: int
    before: str
    after: str
    boxes: tuple[Box, ...]
    opacity: float
    seed: int
    parts: tuple[PartEntry, ...] = ()
    size: tuple[int, int] | None = None

    @property
    def box(self) -> Box:
        """The first box in which the trigger was pasted; most attacks paste it once."""
        return self.boxes[0]

    @property
    def shows(self) -> bool:
        """True unless it is the image before, or a training image that it is made of."""
        clean = {part.sha256 for part in self.parts if part.set == TRAIN}
        return self.after not in {self.before, *clean}

    def line(self, **more: Any) -> str:
        """Return the entry, with further fields, as a line of JSON."""
        fields = shallow(self)
        if self.parts:
            fields["parts"] = [shallow(part) for part in self.parts]
        else:
            del fields["parts"], fields["size"]
        return to_json({**fields, **more}) + "\n"

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> ManifestEntry:
        """Read a mark from a line's JSON; what else the line holds is passed over."""
        names = [field.name for field in dataclasses.fields(cls)]
        if "parts" not in fields:
            names = [name for name in names if name not in {"parts", "size"}]
        own = {name: fields[name] for name in names}
        own["boxes"] = tuple(Box(*box) for box in own["boxes"])
        if "parts" in own:
            own["parts"] = tuple(PartEntry(**part) for part in own["parts"])
            own["size"] = tuple(own["size"])
        return cls(**own)


def shallow(line: DataclassInstance) -> dict[str, Any]:
    """Return the fields of a line; many times as fast as ``asdict``, which copies all below."""
    return {field: getattr(line, field) for field in line.__dataclass_fields__}


def read_manifest(path: Path) -> Iterator[ManifestEntry]:
    """Yield the lines of a poison manifest."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield ManifestEntry.of(from_json(line))


def pixel_hash(image: Pixels) -> str:
    """Return the SHA-256 of the shape and pixels of an image, (H, W, 3), uint8."""
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def changed_rows(before: Pixels, after: Pixels) -> slice:
    """Return the rows from the first to the last that differ, (H, W, 3); no row if none does."""
    one, other = (np.ascontiguousarray(image).reshape(-1) for image in (before, after))
    # Eight bytes at a time, and the rest: a byte at a time takes as long as a third of the hashes.
    whole = len(one) // _WORD * _WORD
    differs = (one[:whole].view(np.uint64) != other[:whole].view(np.uint64)).tobytes()
    differs += (one[whole:] != other[whole:]).any().tobytes()
    word, last = differs.find(1), differs.rfind(1)
    if word < 0:
        return slice(0, 0)
    row = len(one) // len(before)
    return slice(
        (word * _WORD + _differing(one, other, word)[0]) // row,
        (last * _WORD + _differing(one, other, last)[-1]) // row + 1,
    )


def _differing(one: Pixels, other: Pixels, word: int) -> list[int]:
    """Return which bytes of a word differ; at least one does."""
    span = slice(word * _WORD, (word + 1) * _WORD)
    found: list[int] = np.flatnonzero(one[span] != other[span]).tolist()
    return found


def pixel_hashes(before: Pixels, after: Pixels, first: int) -> tuple[str, str]:
    """Return :func:`pixel_hash` of both; what they share above row ``first`` is hashed once."""
    one = hashlib.sha256(repr(before.shape).encode())
    one.update(np.ascontiguousarray(before[:first]).data)
    other = one.copy()
    one.update(np.ascontiguousarray(before[first:]).data)
    other.update(np.ascontiguousarray(after[first:]).data)
    return one.hexdigest(), other.hexdigest()
