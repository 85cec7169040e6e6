"""A checksum within a file, of all its bytes."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Final

#: Placeholder in a file for its checksum before :func:`seal` fills it in.
UNSEALED: Final = {"sha256": "0" * 64}

_SEAL: Final = re.compile(rb'"sha256": ?"(.{64})"', re.DOTALL)

#: The checksum stands within so many bytes from the beginning of a file.
_HEAD: Final = 1 << 24


def seal(path: Path) -> None:
    """Write the checksum of a file into it, in place of the zeros of :data:`UNSEALED`."""
    start, _, digest = _checksum(path)
    with path.open("r+b") as file:
        file.seek(start)
        file.write(digest)


def is_sealed(path: Path) -> bool:
    """Return whether a file is as :func:`seal` left it, every bit of it.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it has no checksum.
    """
    _, said, digest = _checksum(path)
    return said == digest


def _checksum(path: Path) -> tuple[int, bytes, bytes]:
    """Return where a file's checksum is, what it is, and what it should be.

    It is the SHA-256 of all bytes of the file, with zeros for the checksum itself.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
        found = _SEAL.search(head)
        if found is None:
            raise ValueError("it has no checksum")
        start, end = found.span(1)
        digest = hashlib.sha256(head[:start] + b"0" * (end - start) + head[end:])
        while piece := file.read(_HEAD):
            digest.update(piece)
    return start, found[1], digest.hexdigest().encode()
