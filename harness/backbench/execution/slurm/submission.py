"""Stages that were submitted together: a folder, which also a later driver can read."""

from __future__ import annotations

import contextlib
import secrets
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import submitit

from backbench.errors import StageError, printable
from backbench.execution.messages import decode_signal, encode_order
from backbench.execution.slurm.job import StageJob
from backbench.execution.slurm.options import SlurmOptions
from backbench.model import Stage
from backbench.plugin.executor import Setup, Signal
from backbench.store.store import Store
from backbench.system import files
from backbench.system.arithmetic import ONE_THREAD
from backbench.system.json_text import from_json, to_json

#: File of a submission that names its stages.
_KEYS = "stages.json"

#: A longer file of signals, or of keys, is none of ours.
_MOST_BYTES = 1 << 26


class Submitted(NamedTuple):
    """A job that was submitted: the folder of its submission, and its element of the array."""

    folder: Path
    element: int

    @property
    def name(self) -> str:
        """Name of the job in the queue."""
        return self.folder.name

    @property
    def signals(self) -> Path:
        """File of its signals."""
        return self.folder / f"{self.element}.signals.jsonl"

    def log(self) -> Path | None:
        """Return the file of what its last try has printed, if there is one."""
        own = [*self.folder.glob(f"*_{self.element}_0_log.out")] or [*self.folder.glob("*_log.out")]
        return max(own, key=lambda path: path.stat().st_mtime, default=None)


def folder_of(store: Store) -> Path:
    """Return the folder of all submissions of a store."""
    return store.root / "logs" / "slurm"


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
    files.write(folder / _KEYS, to_json([stage.key for stage in stages]) + "\n")
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


def submitted(store: Store) -> Iterator[tuple[str, Submitted]]:
    """Yield the keys of all stages that were submitted and not cleared away, each with its job."""
    for path in sorted(folder_of(store).glob(f"*/{_KEYS}")):
        with contextlib.suppress(OSError, ValueError):
            keys = from_json(files.read_regular(path, _MOST_BYTES))
            yield from ((str(key), Submitted(path.parent, at)) for at, key in enumerate(keys))


def clear(job: Submitted) -> None:
    """Remove the folder of a submission of which no job is left, and nothing is of interest."""
    shutil.rmtree(job.folder, ignore_errors=True)


def read_signals(job: Submitted, key: str, offset: int) -> tuple[list[Signal], int]:
    """Read the whole lines that a job has written from an offset on; return the next offset.

    Raises:
        StageError: If something else has written there.
    """
    try:
        with job.signals.open("rb") as file:
            file.seek(offset)
            text = file.read(_MOST_BYTES)
    except OSError:  # the job has not begun, or a network drive is busy
        return [], offset
    whole = text[: text.rfind(b"\n") + 1]
    try:
        found = [decode_signal(line.decode()) for line in whole.splitlines()]
    except ValueError:
        found = None
    if found is None or any(one.key != key for one in found):
        raise StageError(f"something else than its job wrote into {job.signals}")
    return found, offset + len(whole)
