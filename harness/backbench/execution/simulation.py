"""Simulate the schedule of a plan on a cluster: hours, use of the slots, bytes that move.

The order is that of a run: :class:`~backbench.execution.scheduler.Queue` gives the stages out, and
nothing is begun before a stage that is ready and does not fit yet.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import chain, count
from typing import Any, Protocol

from backbench.errors import UsageError
from backbench.estimate.cost import Costs
from backbench.execution.scheduler import Queue
from backbench.model import Stage
from backbench.plugin.executor import devices_of
from backbench.store.store import Store


@dataclass(frozen=True, slots=True)
class Cluster:
    """Machines of one kind.

    Args:
        nodes: Number of machines.
        slots: Stages that one machine runs at a time, if each requests one device.
        device: Name of the device, or a part of it; empty for any.
    """

    nodes: int
    slots: int
    device: str = ""

    @classmethod
    def parse(cls, text: str) -> Cluster:
        """Read ``4x8`` or ``4x8xA100``.

        Raises:
            UsageError: If it is something else.
        """
        found = re.fullmatch(r"(\d{1,6})x(\d{1,6})(?:x(\S.*))?", text.strip())
        if found is None or "0" in {found[1].lstrip("0") or "0", found[2].lstrip("0") or "0"}:
            raise UsageError(
                f"cluster {text!r}: say machines x stages at a time on each, and the device if "
                "some records are of others: 4x8, or 4x8xA100"
            )
        return cls(int(found[1]), int(found[2]), found[3] or "")

    def __str__(self) -> str:
        return f"{self.nodes}x{self.slots}" + (f"x{self.device}" if self.device else "")


@dataclass(frozen=True, slots=True)
class Schedule:
    """A simulated run.

    Args:
        cluster: Where it runs.
        stages: Number of stages.
        seconds: From the first stage's begin to the last one's end.
        busy_s: Seconds of all slots in which they have a stage.
        critical: Keys of the longest chain of stages that read each other.
        critical_s: Seconds of that chain, which no number of machines makes shorter.
        read: Bytes of inputs that machines fetch: each once a machine, and none that it has made.
        written: Bytes of artifacts.
        unmeasured: Number of stages that have no measured time, by name; they count as 0 s.
        unsized: Number of artifacts whose size is not known; they count as 0 bytes.
        measured_on: Number of records that the times are of, by device.
    """

    cluster: Cluster
    stages: int
    seconds: float
    busy_s: float
    critical: tuple[str, ...]
    critical_s: float
    read: int
    written: int
    unmeasured: Mapping[str, int]
    unsized: int
    measured_on: Mapping[str, int]

    @property
    def utilization(self) -> float:
        """Share of the slots' time in which they have a stage, in [0, 1]."""
        slots = self.cluster.nodes * self.cluster.slots
        return self.busy_s / (self.seconds * slots) if self.seconds else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "cluster": str(self.cluster),
            "stages": self.stages,
            "seconds": round(self.seconds, 3),
            "utilization": round(self.utilization, 4),
            "critical_path_s": round(self.critical_s, 3),
            "critical_path": list(self.critical),
            "bytes_read": self.read,
            "bytes_written": self.written,
            "unmeasured": dict(self.unmeasured),
            "unsized": self.unsized,
            "measured_on": dict(self.measured_on),
        }


@dataclass(frozen=True, slots=True)
class Timed:
    """Knowledge about the stages to run, by key.

    Args:
        stages: The stages, each after those that it reads.
        seconds: Their measured times; a key that is not there has none.
        sizes: Bytes of the artifacts of these stages and of all that they read, where known.
        measured_on: Number of records that the times are of, by device.
    """

    stages: Mapping[str, Stage]
    seconds: Mapping[str, float]
    sizes: Mapping[str, int]
    measured_on: Mapping[str, int]


def timed_by(costs: Costs, store: Store, device: str = "") -> Timed:
    """Return what the records of a store state of the stages that are still to run.

    Args:
        costs: The costs of the plan.
        store: The store.
        device: Part of the name of the GPU or processor whose records count; empty for all.
    """
    seconds, sizes, devices = {}, {}, Counter[str]()
    sorts: dict[str, list[str]] = {}
    for key in costs.stages:
        wall, names = costs.measured(key, device)
        if wall is not None:
            seconds[key] = wall
            sorts[costs.sorts[key]] = names
        seen = costs.seen.get(costs.sorts[key])
        if key in costs.decoded or seen is not None:
            sizes[key] = costs.decoded.get(key, round(seen.size) if seen else 0)
    for names in sorts.values():
        devices.update(names)
    read = set(chain.from_iterable(stage.inputs.values() for stage in costs.stages.values()))
    for key in read - costs.stages.keys():
        if (record := store.readable(key)) is not None:
            sizes[key] = sum(said["bytes"] for said in record.files.values())
    return Timed(costs.stages, seconds, sizes, devices)


def simulate(timed: Timed, cluster: Cluster) -> Schedule:
    """Return the schedule of stages on a cluster, all of whose machines are free at the start.

    A stage runs on the machine with room that has most bytes of its inputs, then on that with most
    free slots. A stage that requests several devices takes as many slots of one machine, at most
    all of them. Fetching inputs and starting a stage take no time.
    """
    waiting = list(timed.stages)
    read = {one for stage in timed.stages.values() for one in stage.inputs.values()}
    queue = Queue(timed.stages, waiting, read - timed.stages.keys())
    machines = _Machines(timed, cluster)
    seconds = play(queue, timed.seconds, machines)
    critical, critical_s = _critical(timed)
    names = (_name(stage) for key, stage in timed.stages.items() if key not in timed.seconds)
    return Schedule(
        cluster=cluster,
        stages=len(waiting),
        seconds=seconds,
        busy_s=math.fsum(timed.seconds.get(key, 0.0) * machines.width(key) for key in waiting),
        critical=critical,
        critical_s=critical_s,
        read=machines.read,
        written=sum(timed.sizes.get(key, 0) for key in waiting),
        unmeasured=Counter(names),
        unsized=len((read | timed.stages.keys()) - timed.sizes.keys()),
        measured_on=timed.measured_on,
    )


class Room(Protocol):
    """Room for stages that run at the same time."""

    def begin(self, key: str) -> bool:
        """Take the room of a stage; return ``False`` if there is none."""

    def end(self, key: str) -> None:
        """Free the room of a stage."""


@dataclass(slots=True)
class Slots:
    """Room for a number of stages."""

    free: int

    def begin(self, _key: str) -> bool:
        """Take a slot, if one is free."""
        if self.free < 1:
            return False
        self.free -= 1
        return True

    def end(self, _key: str) -> None:
        """Free a slot."""
        self.free += 1


def play(queue: Queue, seconds: Mapping[str, float], room: Room) -> float:
    """Let stages begin and end as a run does; return when the last one ends, in seconds.

    Args:
        queue: The stages.
        seconds: The time of each; a key that is not there takes none.
        room: Their room.
    """
    running: list[tuple[float, int, str]] = []
    begun, now = count(), 0.0
    while queue.left or running:
        while (key := queue.first()) is not None and room.begin(key):
            queue.take()
            heappush(running, (now + seconds.get(key, 0.0), next(begun), key))
        now, _, key = heappop(running)
        room.end(key)
        queue.done(key)
    return now


class _Machines:
    """Free slots of each machine, and the artifacts that it has."""

    def __init__(self, timed: Timed, cluster: Cluster) -> None:
        self._timed, self._slots = timed, cluster.slots
        self._free = [cluster.slots] * cluster.nodes
        self._has: list[set[str]] = [set() for _ in range(cluster.nodes)]
        self._where: dict[str, int] = {}
        self.read = 0

    def width(self, key: str) -> int:
        """Return how many slots a stage takes."""
        return min(devices_of(self._timed.stages[key]), self._slots)

    def begin(self, key: str) -> bool:
        """Begin a stage where there is room; return whether there is."""
        width, inputs = self.width(key), set(self._timed.stages[key].inputs.values())
        room = [node for node, free in enumerate(self._free) if free >= width]
        if not room:
            return False
        node = max(room, key=lambda one: (self._bytes(inputs & self._has[one]), self._free[one]))
        self.read += self._bytes(inputs - self._has[node])
        self._has[node] |= inputs
        self._free[node] -= width
        self._where[key] = node
        return True

    def end(self, key: str) -> None:
        """End a stage, whose artifact its machine has."""
        node = self._where.pop(key)
        self._free[node] += self.width(key)
        self._has[node].add(key)

    def _bytes(self, keys: Collection[str]) -> int:
        return sum(self._timed.sizes.get(key, 0) for key in keys)


def _critical(timed: Timed) -> tuple[tuple[str, ...], float]:
    """Return the longest chain of stages that read each other, and its seconds."""
    ends: dict[str, float] = {}
    before: dict[str, str] = {}
    for key, stage in timed.stages.items():
        inputs = [one for one in stage.inputs.values() if one in ends]
        last = max(inputs, key=ends.__getitem__, default=None)
        if last is not None:
            before[key] = last
        ends[key] = (ends[last] if last is not None else 0.0) + timed.seconds.get(key, 0.0)
    if not ends:
        return (), 0.0
    path = [max(ends, key=ends.__getitem__)]
    while path[-1] in before:
        path.append(before[path[-1]])
    return tuple(reversed(path)), max(ends.values())


def _name(stage: Stage) -> str:
    plugin = stage.plugin.name if stage.plugin else ""
    return f"{stage.kind} {plugin}".strip()
