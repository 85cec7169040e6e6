"""Submit stages that need the same resources together."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import submitit

from backbench.errors import StageError, printable
from backbench.execution.messages import encode_order
from backbench.execution.slurm.folders import KEYS, Submitted, folder_of
from backbench.execution.slurm.job import StageJob
from backbench.execution.slurm.options import SlurmOptions
from backbench.model import Stage
from backbench.plugin.executor import Setup
from backbench.store.store import Store
from backbench.system import files
from backbench.system.arithmetic import ONE_THREAD
from backbench.system.json_text import to_json


def submit(
    stages: Sequence[Stage], options: SlurmOptions, setup: Setup, parameters: dict[str, Any]
) -> list[tuple[Submitted, submitit.Job[None]]]:
    """Submit stages that need the same resources, as one job array.

    The folder is complete before the jobs are submitted: a driver that dies in between leaves a
    name under which the next one finds them in the queue.

    Raises:
        StageError: If the cluster refuses them.
    """
    store = Store(setup.store)
    folder = folder_of(store) / f"backbench-{secrets.token_hex(4)}"
    folder.mkdir(parents=True)
    files.write(folder / KEYS, to_json([stage.key for stage in stages]) + "\n")
    executor = submitit.AutoExecutor(folder, cluster=options.cluster)
    exports = [f"export {name}={value}" for name, value in ONE_THREAD.items()]
    executor.update_parameters(
        name=folder.name,
        stderr_to_stdout=True,
        slurm_setup=[*exports, *options.setup],
        slurm_wckey=None,
        slurm_array_parallelism=len(stages),
        **parameters,
    )
    elements = [Submitted(folder, element) for element in range(len(stages))]
    jobs = [
        StageJob(encode_order(stage), store.root, one.signals, setup.device, setup.stage_timeout_s)
        for stage, one in zip(stages, elements, strict=True)
    ]
    try:
        submitted = executor.submit_array(jobs)
    except Exception as error:
        said = printable(" ".join(str(error).split()))
        raise StageError(f"the cluster refuses the job: {said}") from error
    return list(zip(elements, submitted, strict=True))
