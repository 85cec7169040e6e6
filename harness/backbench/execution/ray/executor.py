"""Stages as tasks of a Ray cluster, which places them, and whose nodes may come and go."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import (
    LocalRayletDiedError,
    OutOfMemoryError,
    RayError,
    RayTaskError,
)

from backbench.errors import StageError, UsageError, shortened
from backbench.execution.admission import admit_devices
from backbench.execution.installation import installation
from backbench.execution.messages import decode_signal, encode_order
from backbench.execution.ray.cluster import Cluster, Node
from backbench.execution.ray.node import LOGS, Terms, serve
from backbench.execution.ray.options import RayOptions
from backbench.model import Stage
from backbench.plugin.executor import Executor, Finished, Setup, Signal, devices_of
from backbench.plugin.registry import load_registry
from backbench.store.store import Store
from backbench.system import files

#: Seconds between two looks at whether the user wants to stop, and that stages have to end.
_LOOK_S, _END_S = 1.0, 10.0


class RayExecutor(Executor):
    """Runs stages on the nodes of a Ray cluster.

    A stage requests a GPU a device where the cluster has GPUs, else a core a device; with a limit
    of memory, also that memory. Ray places it. A stage whose node is lost is reported as lost.

    Raises:
        UsageError: If there is no such cluster.
    """

    def __init__(self, options: RayOptions, setup: Setup) -> None:
        super().__init__(options, setup)
        if ":" in setup.device:
            raise UsageError(
                f"--device {setup.device}: Ray chooses the GPU of a stage: say 'auto', 'cpu' or "
                "'cuda'"
            )
        self._store = Store(setup.store)
        self._running: dict[str, Any] = {}
        self._mark = f"tmp/ray-{uuid.uuid4().hex}"
        self._terms: Any = None
        self._cluster = Cluster(options.address or os.environ.get("RAY_ADDRESS", ""), setup.jobs)
        gpus = any(node.gpus for node in self._cluster.nodes)
        if setup.device == "cuda" and not gpus:
            self._cluster.close()
            raise UsageError("--device cuda: no node of the Ray cluster has a GPU")
        self._on_gpus = gpus and setup.device != "cpu"
        calls = {"max_calls": 1} if self._on_gpus else {}  # a GPU is free when its process ends
        self._serve: Any = ray.remote(max_retries=0, **calls)(serve)

    @property
    def slots(self) -> int:
        """``--jobs``, else as many as the nodes that are alive have GPUs or cores; at least one."""
        if self.setup.jobs is not None:
            return self.setup.jobs
        return max(1, sum(map(self._devices, self._cluster.nodes)))

    def admit(self, stages: Iterable[Stage]) -> None:
        """Refuse stages that fit no node, and nodes that cannot run the stages.

        Raises:
            UsageError: Saying which, and why.
        """
        stages, nodes = list(stages), self._workers()
        if not nodes:
            raise UsageError("ray: no node of the cluster has a core for stages")
        admit_devices(stages, max(map(self._devices, nodes)) if self._on_gpus else 0)
        limit, most = self.setup.stage_memory_gib, max(node.memory_gib for node in nodes)
        if limit is not None and limit > most:
            raise UsageError(
                f"benchmark.stage_memory_gib = {limit:g}: no node of the Ray cluster has more "
                f"than {most:.3g} GiB: ask for less"
            )
        used = dict.fromkeys((use.kind, use.name) for stage in stages for use in stage.uses)
        terms = Terms(
            setup=self.setup,
            store=self._store.name,
            device="cuda:0" if self._on_gpus else "cpu",
            used=tuple(used),
            installed=installation(load_registry(), used),
            mark=self._mark,
        )
        for log in self._store.log("").parent.glob(f"{LOGS}*"):
            files.remove(log)
        files.write(self._store.root / self._mark, "", durable=False)
        self._cluster.check(terms, nodes)
        self._terms = ray.put(terms)

    def submit(self, stage: Stage) -> None:
        """Hand the stage to Ray, which begins it where its devices are free."""
        if self._terms is None:
            self.admit([stage])
        count = devices_of(stage)
        if self._on_gpus:
            needs: dict[str, Any] = {"num_cpus": 0, "num_gpus": count}
        else:  # processors can be shared
            most = max((node.cpus for node in self._workers()), default=1)
            needs = {"num_cpus": min(count, most)}
        if self.setup.stage_memory_gib is not None:
            needs["memory"] = int(self.setup.stage_memory_gib * 2**30)
        task = self._serve.options(name=stage.label, **needs)
        self._running[stage.key] = task.remote(encode_order(stage), self._terms)

    def wait(self) -> Signal:
        """Give the next signal of any stage.

        Raises:
            StageError: If the connection to the cluster is lost.
        """
        while True:
            ready, _ = ray.wait(list(self._running.values()), timeout=_LOOK_S)
            for stream in ready:
                key = next(key for key, one in self._running.items() if one is stream)
                found = _signal(key, stream)
                if isinstance(found, Finished):
                    del self._running[key]
                    self._store.fetch_record(key)
                return found

    def close(self) -> None:
        """Cancel what runs, and leave the cluster when it has ended."""
        for stream in self._running.values():
            with suppress(RayError):
                ray.cancel(stream, force=True)
        deadline = time.monotonic() + _END_S
        for stream in self._running.values():
            with suppress(RayError):
                ray.wait([stream.completed()], timeout=max(0.0, deadline - time.monotonic()))
        self._running.clear()
        self._cluster.close()

    def _devices(self, node: Node) -> int:
        return node.gpus if self._on_gpus else node.cpus

    def _workers(self) -> list[Node]:
        """Return the nodes that are alive and can run stages."""
        return [node for node in self._cluster.nodes if self._devices(node)]


def _signal(key: str, stream: Any) -> Signal:
    """Return the next signal of a stage; an error of Ray is the stage's last."""
    try:
        return decode_signal(ray.get(next(stream)))
    except LocalRayletDiedError as error:
        raise StageError("ray: the connection to the cluster is lost: run again") from error
    except RayTaskError as error:  # our own code on the node
        cause = str(error.cause or error).strip().splitlines()[-1:]
        return Finished(key, f"ray: {''.join(cause)}", shortened(str(error)))
    except OutOfMemoryError as error:
        return Finished(key, "ray ended it: its node was out of memory", str(error), lost=True)
    except (RayError, StopIteration) as error:
        return Finished(key, "its node was lost", str(error), node_lost=True)
