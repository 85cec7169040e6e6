"""Options of the executor ``slurm``: resources of its jobs, by kind of stage where they differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from backbench.model import Stage, StageKind
from backbench.options.base import Options
from backbench.plugin.executor import devices_of


class Resources(Options):
    """Resources of a job; what is left out of a kind of stage is as for all stages."""

    partition: str | None = Field(None, description="partition; left out: the cluster's default")
    account: str | None = Field(None, description="account that is charged")
    time_min: int = Field(
        60,
        ge=1,
        description="time limit, minutes; a training that reaches it is resubmitted and resumes",
    )
    mem_gib: int | None = Field(
        None, ge=1, description="memory; left out: benchmark.stage_memory_gib, else the cluster's"
    )
    cpus: int = Field(1, ge=1, description="cores for each device of the stage")
    gpus: int = Field(0, ge=0, description="GPUs for each device of the stage")
    sbatch: Mapping[str, str | int] = Field(
        {}, description="further options of sbatch: { qos = 'long', constraint = 'a100' }"
    )


class SlurmOptions(Resources):
    """Options of the executor."""

    stages: dict[StageKind, Resources] = Field(
        {}, description="other resources for a kind of stage: [executors.slurm.stages.pretrain]"
    )
    setup: tuple[str, ...] = Field(
        (), description="lines of shell before each stage: ['module load cuda']"
    )
    grace_s: int = Field(
        120,
        ge=1,
        description="seconds before the time limit, at most half of it, at which a training is "
        "asked to end after the epoch, at a checkpoint",
    )
    poll_s: float = Field(5.0, gt=0, description="seconds between two looks at the queue")
    cluster: Literal["slurm", "local"] = Field(
        "slurm", description="local: processes of this machine, to try a file without SLURM"
    )

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, given: Any) -> Any:
        """Let the table of a kind of stage hold what differs: the rest is as for all stages."""
        if not isinstance(given, Mapping) or not isinstance(given.get("stages"), Mapping):
            return given
        common = {name: given[name] for name in Resources.model_fields if name in given}
        tables = {
            kind: {**common, **table} if isinstance(table, Mapping) else table
            for kind, table in given["stages"].items()
        }
        return {**given, "stages": tables}

    def resources(self, stage: Stage) -> Resources:
        """Return the resources of each device of a stage."""
        return self.stages.get(stage.kind, self)

    def parameters(self, stage: Stage, memory_gib: float | None) -> dict[str, Any]:
        """Return submitit's parameters for the job of a stage.

        Args:
            stage: The stage.
            memory_gib: Its memory where no option has it.
        """
        own, devices = self.resources(stage), devices_of(stage)
        memory = own.mem_gib if own.mem_gib is not None else memory_gib
        found = {
            "timeout_min": own.time_min,
            "slurm_signal_delay_s": min(self.grace_s, 30 * own.time_min),
            "cpus_per_task": own.cpus * devices,
            "gpus_per_node": own.gpus * devices or None,
            "mem_gb": memory,
            "slurm_partition": own.partition,
            "slurm_account": own.account,
            "slurm_additional_parameters": dict(own.sbatch) or None,
        }
        return {name: value for name, value in found.items() if value is not None}
