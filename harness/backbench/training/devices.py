"""The devices of the processes that train one encoder together. Needs no torch."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class Device(NamedTuple):
    """The name of a torch device and the cores that go with it; empty where any may be used."""

    device: str
    cores: tuple[int, ...] = ()


def may_have_gpu() -> bool:
    """Return whether torch is worth asking for a GPU."""
    return sys.platform == "darwin" or any(
        Path(path).exists() for path in ("/dev/nvidiactl", "/dev/kfd", "/proc/driver/nvidia")
    )


def rank_devices(first: str, others: Sequence[Device], count: int) -> tuple[Device, ...]:
    """Return a device for each of ``count`` ranks; ``first`` is rank 0's, which runs already.

    ``others`` are those that the executor reserved for the other ranks. Where it reserved none,
    the processes share the processor, or take the GPUs in their order.
    """
    if len(others) == count - 1:
        return Device(first), *others
    if first.partition(":")[0] == "cpu":
        return (Device(first),) * count
    rest = [name for name in (f"cuda:{number}" for number in range(count)) if name != first]
    return Device(first), *(Device(name) for name in rest[: count - 1])
