"""Stages that wait for others: which is ready, and which never will be. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from heapq import heapify, heappop, heappush

from backbench.model import Stage


class Queue:
    """Stages by the order of the plan, each given out when all that it reads is there.

    An end of a stage costs the time of those that read it, not of all that wait: a run of a plan
    takes time in proportion to its stages.

    Args:
        stages: The plan's stages by key.
        waiting: Keys of those to run, each after those that it reads.
        done: Keys of those that are in the store.
    """

    def __init__(
        self, stages: Mapping[str, Stage], waiting: Sequence[str], done: Collection[str]
    ) -> None:
        self._keys = tuple(waiting)
        self._readers: dict[str, list[int]] = {}
        self._missing: dict[int, int] = {}
        for at, key in enumerate(self._keys):
            missing = {one for one in stages[key].inputs.values() if one not in done}
            self._missing[at] = len(missing)
            for one in missing:
                self._readers.setdefault(one, []).append(at)
        self._ready = [at for at, count in self._missing.items() if not count]
        heapify(self._ready)

    @property
    def left(self) -> int:
        """Number of stages that have not been taken, and may yet be."""
        return len(self._missing)

    def first(self) -> str | None:
        """Return the first stage that is ready; ``None`` if none is."""
        return self._keys[self._ready[0]] if self._ready else None

    def take(self) -> None:
        """Take the first stage that is ready."""
        del self._missing[heappop(self._ready)]

    def done(self, key: str) -> None:
        """Count a stage as done for the stages that read it."""
        for at in self._readers.pop(key, ()):
            if at in self._missing:
                self._missing[at] -= 1
                if not self._missing[at]:
                    heappush(self._ready, at)

    def lost(self, key: str) -> list[str]:
        """Give up all that need a stage that has failed; return their keys in the plan's order."""
        given_up: set[int] = set()
        reading = self._readers.pop(key, [])
        while reading:
            at = reading.pop()
            if at in self._missing:
                del self._missing[at]
                given_up.add(at)
                reading += self._readers.pop(self._keys[at], [])
        return [self._keys[at] for at in sorted(given_up)]
