"""A Ray cluster that this process is connected to, or has started on this machine."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError, TaskUnschedulableError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from backbench.errors import UsageError
from backbench.execution.ray.node import Terms, objection
from backbench.plugin.calling import sentence_of
from backbench.system.cores import core_count

#: Seconds that every node has to answer before the run begins, and that nodes are remembered.
_ANSWER_S, _REMEMBERED_S = 60.0, 2.0

#: Bytes of shared memory of a cluster of this machine; signals are all that it holds.
_SHARED_BYTES = 100 * 2**20

#: Variables of a cluster that is started: no usage report, and the priority of all that a user
#: starts; Ray's own 15 would leave the cores to any other program.
_OWN = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_worker_niceness": "0"}


@dataclass(frozen=True, slots=True)
class Node:
    """A node that is alive: its id, its name for people, and what it has."""

    id: str
    name: str
    cpus: int
    gpus: int
    memory_gib: float


class Cluster:
    """A connection to a Ray cluster.

    Without an address, a cluster of this machine is started: no dashboard, no usage report. Where
    this process is connected already, that connection is used and left open.

    Args:
        address: ``HOST:PORT``, ``auto`` for the cluster of this machine, or empty.
        cpus: Cores of a cluster that is started; all usable ones if ``None``.

    Raises:
        UsageError: If there is no cluster at the address.
    """

    def __init__(self, address: str, cpus: int | None) -> None:
        self._nodes: list[Node] = []
        self._looked = float("-inf")
        self._connected = not ray.is_initialized()
        if address.startswith("ray://"):
            raise UsageError(
                f"{address}: a Ray client cannot follow stages: run on a node of the cluster, "
                "with the address 'auto'"
            )
        if self._connected:
            # Ray has no setting for it: a thread prints each lost node on stdout, where JSON may be
            ray._private.worker._worker_logs_enabled = False  # noqa: SLF001
            with _handlers_kept():
                _connect(address, cpus)

    @property
    def nodes(self) -> list[Node]:
        """The nodes that are alive."""
        if time.monotonic() > self._looked + _REMEMBERED_S:
            self._nodes = [_node(one) for one in ray.nodes() if one["Alive"]]
            self._looked = time.monotonic()
        return self._nodes

    def check(self, terms: Terms, nodes: list[Node]) -> None:
        """Ask every node whether it can run the stages of a run; one that is lost meanwhile cannot.

        Raises:
            UsageError: If one cannot; the sentence names the node and the reason.
        """
        ask: Any = ray.remote(num_cpus=0, max_retries=2)(objection)
        asked = []
        for node in nodes:  # several may have one name
            there = NodeAffinitySchedulingStrategy(node.id, soft=False)
            asked.append((node.name, ask.options(scheduling_strategy=there).remote(terms)))
        ray.wait([answer for _, answer in asked], num_returns=len(asked), timeout=_ANSWER_S)
        problems = []
        for name, answer in asked:
            try:
                why = ray.get(answer, timeout=0)
            except TaskUnschedulableError:
                continue  # the node is gone; Ray listed it a little longer
            except TimeoutError:
                why = f"does not answer within {_ANSWER_S:.0f} s"
            except (RayError, ImportError) as error:
                last = str(error).strip().splitlines()[-1:]
                why = f"cannot run backbench ({''.join(last)}): install the same on every node"
            if why:
                problems.append(f"ray: node {name} {why}")
        if problems:
            raise UsageError("\n".join(problems))

    def close(self) -> None:
        """Leave the cluster; end it if it was started here."""
        if self._connected:
            ray.shutdown()


def _connect(address: str, cpus: int | None) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address:
        try:
            ray.init(address=address, **quiet)
        except (ConnectionError, RayError, RuntimeError, ValueError) as error:
            raise UsageError(
                f"ray: cannot connect to {address!r} ({sentence_of(error)}): start a cluster with "
                "`ray start --head`, or leave the address out"
            ) from error
        return
    with _environment(_OWN):
        ray.init(
            address="local",
            num_cpus=cpus or core_count(),
            include_dashboard=False,
            object_store_memory=_SHARED_BYTES,
            **quiet,
        )


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Set variables meanwhile; the processes that are started keep them."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Keep this process's answers to signals: ray.init puts its own in their place."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            if handler is not None:  # else it was not set by Python
                signal.signal(number, handler)


def _node(found: dict[str, Any]) -> Node:
    has = found["Resources"]
    host, address = found["NodeManagerHostname"], found["NodeManagerAddress"]
    return Node(
        found["NodeID"],
        f"{host} ({address})",
        int(has.get("CPU", 0)),
        int(has.get("GPU", 0)),
        has.get("memory", 0.0) / 2**30,
    )
