"""Where the processes that train one encoder together run. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Place(NamedTuple):
    """A device and the cores that go with it.

    Args:
        device: Name of the torch device.
        cores: The processor's cores; empty where any may be used.
    """

    device: str
    cores: tuple[int, ...] = ()


def places(first: str, others: Sequence[Place], count: int) -> tuple[Place, ...]:
    """Return a place for each rank.

    Args:
        first: Device of rank 0, whose process runs already.
        others: Where an executor has made room for the others; nothing if it has not thought of
            it: then processes share the processor, or take the GPUs in their order.
        count: How many ranks.
    """
    if len(others) == count - 1:
        return Place(first), *others
    if first.partition(":")[0] == "cpu":
        return (Place(first),) * count
    rest = [name for name in (f"cuda:{number}" for number in range(count)) if name != first]
    return Place(first), *(Place(name) for name in rest[: count - 1])
