"""The part of the executor ``ray`` that runs on the nodes. It imports neither ray nor torch.

A stage is a Ray task. The process of the task computes nothing: it keeps a worker process of the
local executor, hands it the stage, and passes its signals on. So threads, limits, logs and the
end of a stage that crashes are those of the local executor, and a crash costs Ray no process. Ray
gives the next task to the same process, whose worker has imported torch by then.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from multiprocessing.connection import wait as wait_readable
from pathlib import Path

from backbench.errors import BackbenchError, UsageError
from backbench.execution.installation import Used, difference, installation
from backbench.execution.messages import decode_order, encode_signal
from backbench.execution.worker_process import LOOK_S, WorkerProcess, close_all
from backbench.plugin.executor import Finished, Setup
from backbench.plugin.registry import load_registry
from backbench.store.location import is_url, located, open_store
from backbench.training.devices import Device

#: Beginning of the names of logs.
LOGS = "ray-"

#: Seconds between two looks at whether the node is still there.
_FOLLOW_S = 0.5

#: Seconds that a shared file system has to show what another node has written.
_VISIBLE_S = 10.0


@dataclass(frozen=True, slots=True)
class Terms:
    """Terms of a run, for every node.

    Args:
        setup: The limits of a stage; its folder of the store is that of the run's machine.
        store: Folder or URL of the store.
        device: Device of each stage, as the process of its task sees it.
        used: The plugins that the run uses.
        installed: What is installed where the run was started.
        mark: Name of a file that the run has made in the store.
    """

    setup: Setup
    store: str
    device: str
    used: tuple[Used, ...]
    installed: Mapping[str, str]
    mark: str


def objection(terms: Terms) -> str:
    """Return why this node cannot run stages of a run: the end of a sentence; empty if it can."""
    if unlike := difference(terms.installed, installation(load_registry(), terms.used)):
        return f"has another installation: {unlike}: install the same on every node"
    try:
        root = located(terms.store)
    except UsageError as error:
        return f"cannot use the store: {error}"
    deadline = time.monotonic() + _VISIBLE_S
    while not is_url(terms.store) and not (root / terms.mark).exists():
        if time.monotonic() > deadline:
            return f"does not see the store: put {root} where every node has it"
        time.sleep(0.1)
    return ""


def serve(order: str, terms: Terms) -> Iterator[str]:
    """Run a stage in this node's worker process; yield its signals, as lines of JSON.

    Args:
        order: The stage, as :func:`~backbench.execution.messages.encode_order` returns it.
        terms: The terms of the run.
    """
    stage, others = decode_order(order)
    try:
        worker = _Kept.worker_for(terms)
        worker.submit(stage, others)
    except (BackbenchError, OSError) as error:
        usage = isinstance(error, BackbenchError)
        yield encode_signal(Finished(stage.key, f"{_node()}: {error}", usage=usage))
        return
    while True:
        while (signal := worker.signal()) is not None:
            yield encode_signal(signal)
            if isinstance(signal, Finished):
                return
        if wait_readable([worker.pipe], LOOK_S):
            worker.read()
        worker.look()


class _Kept:
    """State that the process of a task keeps for the next one."""

    terms: Terms | None = None
    worker: WorkerProcess | None = None

    @classmethod
    def worker_for(cls, terms: Terms) -> WorkerProcess:
        """Return a worker process that waits for a stage.

        Raises:
            BackbenchError: If this node cannot run stages of the run.
            OSError: If no process or log can be made.
        """
        if cls.terms != terms:
            if why := objection(terms):
                raise BackbenchError(f"the node {why}")
            if cls.terms is None:
                threading.Thread(target=_follow, args=(os.getppid(),), daemon=True).start()
            cls.terms = terms
        elif cls.worker is not None and cls.worker.alive:
            return cls.worker
        if cls.worker is not None:
            close_all([cls.worker])
            cls.worker = None
        store = open_store(terms.store)
        store.prepare_here()
        log = store.log(f"{LOGS}{_node()}-{os.getpid()}")
        setup = replace(terms.setup, store=store.root)
        cls.worker = WorkerProcess(setup, Device(terms.device), log)
        return cls.worker


def _follow(parent: int) -> None:
    """End this process, and its worker with it, when the node's own process is gone.

    Ray does so only where orphans become children of process 1.
    """
    while os.getppid() == parent:
        time.sleep(_FOLLOW_S)
    os._exit(1)


def _node() -> str:
    return Path(socket.gethostname()).name
