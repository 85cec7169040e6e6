"""The jobs of this user in the cluster's queue, as ``squeue`` lists them."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from backbench.errors import StageError, UsageError

#: States of a job that has ended, and will not begin again by itself.
ENDED = frozenset(
    {
        "BOOT_FAIL",
        "CANCELLED",
        "COMPLETED",
        "DEADLINE",
        "FAILED",
        "NODE_FAIL",
        "OUT_OF_MEMORY",
        "PREEMPTED",
        "REVOKED",
        "TIMEOUT",
    }
)

#: Seconds in which SLURM must answer.
_ANSWER_S = 60.0


#: State of a job that SLURM has requeued and holds, since it could not be launched.
HELD = "HELD"


class Queued(NamedTuple):
    """A job: its number with that of its element, and its state, or :data:`HELD`."""

    job: str
    state: str


def look(names: Iterable[str]) -> Mapping[tuple[str, int], Queued]:
    """Return the jobs of some names that the queue has, by name and element of the array.

    SLURM keeps jobs that have ended for some minutes.

    Raises:
        StageError: If SLURM does not answer.
    """
    form = "%j|%K|%i|%T|%r"
    text = call(["squeue", "--me", "--noheader", "--array", "--states=all", f"--format={form}"])
    wanted, found = set(names), {}
    for line in text.splitlines():
        name, element, job, state, reason = line.strip().split("|", 4)
        if name in wanted:
            held = state == "REQUEUE_HOLD" or reason.endswith("requeued held")
            state = HELD if held else state
            found[name, int(element) if element.isdecimal() else 0] = Queued(job, state)
    return found


def cancel(jobs: Sequence[str]) -> None:
    """Cancel jobs; those that have ended are passed over.

    Raises:
        StageError: If SLURM does not answer.
    """
    for start in range(0, len(jobs), 100):
        call(["scancel", "--quiet", *jobs[start : start + 100]])


def call(command: Sequence[str]) -> str:
    """Return the output of one of SLURM's commands.

    Raises:
        StageError: If it fails, or does not answer.
        UsageError: If it is not installed.
    """
    try:
        done = subprocess.run(  # noqa: S603 - a command of ours
            command, capture_output=True, text=True, check=False, timeout=_ANSWER_S
        )
    except FileNotFoundError as error:
        raise UsageError(
            f"executor slurm: {command[0]} is not installed here: run on a node of the cluster"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise StageError(f"{command[0]} has not answered in {_ANSWER_S:g} s") from error
    if done.returncode:
        raise StageError(f"{command[0]}: {' '.join(done.stderr.split())}")
    return done.stdout
