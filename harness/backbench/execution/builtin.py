"""The executors that are built in."""

from __future__ import annotations

from collections.abc import Iterable

from backbench.execution.ray.options import RayOptions
from backbench.execution.slurm.options import SlurmOptions
from backbench.plugin import ExecutorInfo, hookimpl


@hookimpl
def register_executors() -> Iterable[ExecutorInfo]:
    """Announce the executors."""
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
    yield ExecutorInfo(
        name="ray",
        summary="The nodes of a Ray cluster, or of one that is started on this machine.",
        target="backbench.execution.ray.executor:RayExecutor",
        options=RayOptions,
        requires={"ray": "backbench[ray]"},
    )
    yield ExecutorInfo(
        name="slurm",
        summary="Jobs of a SLURM cluster: arrays of stages that are ready.",
        target="backbench.execution.slurm.executor:SlurmExecutor",
        options=SlurmOptions,
        requires={"submitit": "backbench[slurm]"},
    )
