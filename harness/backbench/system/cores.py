"""The processor's cores that this process may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

_CGROUPS: Final = Path("/sys/fs/cgroup")
_OWN: Final = Path("/proc/self/cgroup")


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def core_count() -> int:
    """Count the cores that this process may keep busy.

    A container may run on all cores of a machine and have the time of two of them.
    """
    quota = cpu_quota()
    cores = len(usable_cores())
    return cores if quota is None else max(1, min(cores, math.ceil(quota)))


def pin_to(cores: Sequence[int]) -> None:
    """Run this process on some cores only; on any core if there are none."""
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def cpu_quota(own: Path = _OWN, cgroups: Path = _CGROUPS) -> float | None:
    """Return the smallest quota, in cores, of this process's control groups and those around them.

    Args:
        own: The file that lists the groups of this process.
        cgroups: The folder at which the groups are mounted.

    Source: Linux, Documentation/admin-guide/cgroup-v2.rst (cpu.max) and
        scheduler/sched-bwc.rst (cpu.cfs_quota_us, version 1).
    """
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas = []
    for line in lines:
        _, controllers, group = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = cgroups / controllers if controllers else cgroups
        quotas += [_quota(folder) for folder in _up(mount, group)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _up(mount: Path, group: str) -> Iterator[Path]:
    """Yield a group's folder and the folders around it; a container may see only the mount."""
    path = mount / group.strip("/")
    while path != mount:
        yield path
        path = path.parent
    yield mount


def _quota(folder: Path) -> float | None:
    try:
        if (file := folder / "cpu.max").is_file():
            quota, period = file.read_text(encoding="utf-8").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="utf-8")
            period = (folder / "cpu.cfs_period_us").read_text(encoding="utf-8")
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no quota: "max", -1, or no file at all
        return None
