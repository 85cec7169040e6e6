"""What the machine's processors did, from ``/proc``: ours and everybody else's."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

_TICKS = os.sysconf("SC_CLK_TCK")


class Reading(NamedTuple):
    """Processor time up to a moment, seconds.

    Args:
        when: Of a clock that never goes back.
        busy: Of the whole machine, all cores; what the host stole from it is counted.
        own: Of each process tree that is measured, all in one.
    """

    when: float
    busy: float
    own: float


def others(before: Reading, after: Reading) -> float:
    """Return the share of one core that processes other than the measured ones took.

    Args:
        before: When the timed section began.
        after: When it ended.
    """
    wall = after.when - before.when
    if wall <= 0:
        return 0.0
    return max(0.0, (after.busy - before.busy) - (after.own - before.own)) / wall


def read(roots: Iterable[int], clock: Callable[[], float]) -> Reading:
    """Read the machine's processor time, and that of some processes and all below them.

    Args:
        roots: The topmost processes.
        clock: Gives the time, seconds.
    """
    return Reading(clock(), machine_busy(Path("/proc/stat").read_text()), _of_trees(set(roots)))


def machine_busy(stat: str) -> float:
    """Return the seconds that all cores were busy, from the text of ``/proc/stat``.

    Args:
        stat: user, nice, system, idle, iowait, irq, softirq and steal in its first line, in ticks.
    """
    fields = [int(one) for one in stat.splitlines()[0].split()[1:9]]
    user, nice, system, _, _, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICKS


def process_line(stat: str) -> tuple[int, float]:
    """Return a process's parent and its CPU-seconds, ended children included.

    Args:
        stat: The text of ``/proc/<pid>/stat``. A name may hold blanks and brackets.
    """
    fields = stat[stat.rindex(")") + 2 :].split()
    return int(fields[1]), sum(int(one) for one in fields[11:15]) / _TICKS


def _of_trees(roots: set[int]) -> float:
    parents: dict[int, int] = {}
    seconds: dict[int, float] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - names are enough
        if name.isdigit():
            try:
                found = process_line(Path("/proc", name, "stat").read_text())
            except OSError:  # it has ended meanwhile
                continue
            parents[int(name)], seconds[int(name)] = found
    total = 0.0
    for pid, own in seconds.items():
        at = pid
        while at not in roots and at in parents:
            at = parents[at]
        if at in roots:
            total += own
    return total
