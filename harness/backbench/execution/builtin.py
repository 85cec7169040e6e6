"""The executors that are built in."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.plugin import ExecutorInfo, hookimpl


@hookimpl
def register_executors() -> Iterable[ExecutorInfo]:
    """Announce ``serial`` and ``local``."""
    yield ExecutorInfo(
        name="serial",
        summary="One stage at a time in this process.",
        target="backbench.execution.serial:SerialExecutor",
    )
    yield ExecutorInfo(
        name="local",
        summary="Worker processes on this machine: one a GPU, or one a core.",
        target="backbench.execution.local:LocalExecutor",
    )
