"""Bytes of decoded images that are kept. No NumPy: a plan asks."""

from __future__ import annotations

from typing import Final

#: Images of one size are held in memory up to this many bytes, else decoded on demand.
MEMORY_LIMIT_BYTES: Final = 2 << 30

#: With ``cache = "auto"``, decoded images are kept up to this many bytes a split.
AUTO_LIMIT_BYTES: Final = 8 << 30


def keeps(cache: str | int, total: int) -> bool:
    """Return whether images are kept decoded that do not fit in memory, or differ in size."""
    return cache != "off" and (cache != "auto" or total <= AUTO_LIMIT_BYTES)
