"""How the C library hands out memory: large temporaries are kept, not given back each time."""

from __future__ import annotations

import ctypes
from functools import cache

#: Parameters of glibc's ``mallopt`` and their values: blocks up to 1 GB come from the heap, which
#: grows by 64 MB at a time and shrinks only if 2 GB at its end are free.
_SETTINGS = ((-3, 2**30), (-2, 2**26), (-1, 2**31 - 1))


@cache
def keep_memory() -> bool:
    """Let this process keep the memory of large temporaries, where the C library is glibc.

    By default glibc gives each back to the system and takes it again: views of small images
    then spend a third of their time on page problems. Changes no number.

    Returns:
        Whether the C library has taken the settings.
    """
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    return all(adjust(name, value) for name, value in _SETTINGS)
