"""The worker's side of the protocol of :mod:`benchmarks.rounds`.

A worker makes everything ready, says so, and then answers each line that it is sent with one timed
section. What it prints itself goes to standard error, so that a peer's chatter breaks nothing.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

State = TypeVar("State")


def serve(
    prepare: Callable[[], State], timed: Callable[[State], float | Mapping[str, Any]]
) -> None:
    """Answer the starter's lines until it closes the pipe.

    Args:
        prepare: Loads, compiles and warms up; returns what ``timed`` needs. Not timed.
        timed: One timed section. Returns the number of units that it did, or a mapping with
            ``units`` and whatever else the row needs (numbers that a gate compares).
    """
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    state = prepare()
    print("ready", file=answers, flush=True)
    while sys.stdin.readline():
        cpu, start = _cpu_seconds(), time.perf_counter()
        done = timed(state)
        seconds = time.perf_counter() - start
        found = dict(done) if isinstance(done, Mapping) else {"units": done}
        found = {
            "seconds": seconds,
            "cpu_s": _cpu_seconds() - cpu,
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            **found,
        }
        print(json.dumps(found), file=answers, flush=True)


def _cpu_seconds() -> float:
    """Return CPU-seconds of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])
