"""Memory of a process: the peak of one stage, and how the C library gives memory back."""

from __future__ import annotations

import ctypes
import resource
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

_PROCESSES = Path("/proc")
_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")

#: Sets the high-water mark of resident memory to what is resident now.
_RESET = "5"

#: Parameters of glibc's ``mallopt`` and their values: blocks up to 1 GB come from the heap, which
#: grows by 64 MB at a time and shrinks only if 2 GB at its end are free.
_SETTINGS = ((-3, 2**30), (-2, 2**26), (-1, 2**31 - 1))


class PeakMemory:
    """Measures from its making on, where the system lets one start anew.

    Source: proc_pid_clear_refs(5): writing 5 resets the peak resident set size (``VmHWM`` of
        proc_pid_status(5)) to its current value; Linux 4.0 and later.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._fresh = reset_peak()
        torch = self._torch()
        if torch is not None:
            torch.cuda.reset_peak_memory_stats(device)

    def gib(self) -> float:
        """Return the highest resident memory of this process, in GiB."""
        found = _high_water() if self._fresh else None
        if found is not None:
            return found / 2**20
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30

    def provenance(self) -> dict[str, Any]:
        """Return what the peak is of (``stage``, or the life of the ``process``).

        On a GPU, ``peak_gpu_mem_gib`` is the most that torch has held there at once.
        """
        said: dict[str, Any] = {"peak_mem_of": "stage" if self._fresh else "process"}
        torch = self._torch()
        if torch is not None:
            peak = torch.cuda.max_memory_allocated(self._device)
            said["peak_gpu_mem_gib"] = round(peak / 2**30, 3)
        return said

    def _torch(self) -> Any:
        """Return torch where it is imported and computes on a GPU; it is not imported for this."""
        torch = sys.modules.get("torch")
        if torch is None or not self._device.startswith("cuda"):
            return None
        return torch if torch.cuda.is_initialized() else None


def tree_gib(root: int) -> float:
    """Return the resident memory of a process and all below it, less what is shared, in GiB.

    Zero where the system does not list processes in ``/proc``.
    """
    children: dict[int, list[int]] = {}
    for folder in _PROCESSES.glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(folder.name))
    total, tree = 0, [root]
    while tree:
        tree += children.get(number := tree.pop(), [])
        with suppress(OSError):
            lines = (_PROCESSES / str(number) / "status").read_text(errors="replace").splitlines()
            total += sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return total / 2**20


def reset_peak() -> bool:
    """Start the high-water mark anew; return whether that worked."""
    try:
        _CLEAR.write_text(_RESET, encoding="ascii")
    except OSError:
        return False
    return _high_water() is not None


def _high_water() -> int | None:
    """Return the high-water mark of resident memory, KiB; ``None`` where there is none."""
    try:
        for line in _STATUS.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    except OSError:
        pass
    return None


@cache
def keep_memory() -> bool:
    """Let this process keep the memory of large temporaries, where the C library is glibc.

    By default glibc gives each back to the system and takes it again: views of small images
    then spend a third of their time on page problems. Changes no number.
    """
    try:
        adjust = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # another C library, or another system
        return False
    return all(adjust(name, value) for name, value in _SETTINGS)
