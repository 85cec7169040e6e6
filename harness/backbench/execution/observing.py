"""The observers that a run names: each in a thread of its own, so that no run waits for one."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Thread

from backbench.errors import PluginError, UsageError
from backbench.options.base import Options
from backbench.plugin import Observer, ObserverInfo, hookimpl
from backbench.plugin.calling import sentence_of
from backbench.plugin.packages import Failure
from backbench.plugin.registry import Registered, Registry
from backbench.plugin.requirements import missing_packages

#: The observers to use, each with its options, by name.
Chosen = Mapping[str, tuple[Registered, Options]]

#: Events that an observer receives.
EVENTS = (
    "run_started",
    "stage_started",
    "stage_progress",
    "stage_finished",
    "stage_failed",
    "run_finished",
    "results_ready",
)

#: Seconds that observers get after a run to write what is left.
CLOSE_S = 30.0


def choose(registry: Registry, tables: Chosen, names: Sequence[str]) -> Chosen:
    """Return the observers of a benchmark file and those that are named besides.

    Raises:
        UsageError: With every name that no observer has, and every package that is missing.
    """
    found, problems = dict(tables), []
    for name in dict.fromkeys(names):
        if name not in found:
            try:
                registered = registry.find(ObserverInfo.kind, name)
                found[name] = registered, registered.info.options()
            except (PluginError, ValueError) as error:
                problems.append(f"--observe {name}: {error}")
    for name, (registered, _) in found.items():
        problems += missing_packages(registered, name)
    if problems:
        raise UsageError("\n".join(problems))
    return found


@contextmanager
def observing(registry: Registry, chosen: Chosen) -> Iterator[None]:
    """Hand the events of a registry to observers; report at the end what they did not take.

    They have :data:`CLOSE_S` seconds after the end to take what is left.
    """
    watches = [_Watch(name, *one) for name, one in chosen.items()]
    for watch in watches:
        registry.manager.register(watch)
    try:
        yield
    finally:
        deadline = time.monotonic() + CLOSE_S
        for watch in watches:
            registry.manager.unregister(watch)
            watch.end()
        for watch in watches:
            if reason := watch.wait(deadline):
                registry.failures.append(Failure(watch.registered.origin, reason))


class _Watch:
    """One observer, its thread, and the count of what it did not take."""

    def __init__(self, name: str, registered: Registered, options: Options) -> None:
        self.registered = registered
        self._name, self._options = name, options
        self._queue: SimpleQueue[tuple[str, object] | None] = SimpleQueue()
        self._sent = self._taken = 0
        self._first = ""
        for hook in EVENTS:
            setattr(self, hook, self._sender(hook))
        self._thread = Thread(target=self._work, name=f"observer {name}", daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Send no more."""
        self._queue.put(None)

    def wait(self, deadline: float) -> str:
        """Wait for the thread; return how many events were not taken and why, if any were not."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        lost = self._sent - self._taken
        if self._thread.is_alive():
            self._first = self._first or f"it was still busy {CLOSE_S:g} s after the run"
        if not lost and not self._first:
            return ""
        return (
            f"observer {self._name!r}: {lost} of {self._sent} events were not taken; the first "
            f"reason: {self._first}"
        )

    def _sender(self, hook: str) -> object:
        def send(event: object) -> None:
            self._sent += 1
            self._queue.put((hook, event))

        return hookimpl(send)

    def _work(self) -> None:
        observer: Observer | None = None
        try:
            observer = self.registered.implementation()(self._options)
        except BaseException as error:  # noqa: BLE001 - whatever a stranger's code raises
            self._note("making it", error)
        while (item := self._queue.get()) is not None:
            if observer is not None:
                hook, event = item
                try:
                    getattr(observer, hook)(event)
                    self._taken += 1
                except BaseException as error:  # noqa: BLE001
                    self._note(hook, error)
        if observer is not None:
            try:
                observer.close()
            except BaseException as error:  # noqa: BLE001
                self._note("close", error)

    def _note(self, step: str, error: BaseException) -> None:
        self._first = self._first or f"{step} raised {sentence_of(error)}"
