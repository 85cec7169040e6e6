"""``python -m benchmarks gpu``: one slice of a run; the same command goes on where it ended.

It checks every method, attack and defense against the processor, measures the speed of training,
and trains CIFAR-10 at the published size. A unit that fails is noted with its traceback, and costs
no other one. Exit code 0: all is done; 1: something failed; 4: run the command again.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from benchmarks.gpu.page import page
from benchmarks.gpu.state import State, Status
from benchmarks.gpu.worker import LEAST_S
from benchmarks.rounds import ROOT, environment

#: Seconds that a process gets to end by itself after the slice.
GRACE_S: Final = 20.0

#: Exit code where something is left to be done.
TO_BE_CONTINUED: Final = 4

PAGE: Final = ROOT / "docs" / "results" / "gpu.md"


def main(arguments: list[str]) -> int:
    """Do one slice."""
    given = _arguments(arguments)
    end = time.time() + 60 * given.minutes - GRACE_S
    given.out.mkdir(parents=True, exist_ok=True)
    settings = {"device": given.device, "tiny": given.tiny}
    try:
        state = State(given.out, settings)
    except ValueError as error:
        print(f"benchmarks gpu: {error}", file=sys.stderr)
        return 2
    if given.again:
        for name in [name for name, one in state.units.items() if one.status is not Status.DONE]:
            del state.units[name]
        state.save()
    images = str(given.images.absolute()) if given.images else ""
    order = {**settings, "out": str(given.out.absolute()), "images": images, "end": end}
    while True:
        state = State(given.out, settings)
        state.settle()
        before = {name: (one.status, one.slices) for name, one in state.units.items()}
        if time.time() > end - LEAST_S or not _worked(order, end):
            break
        state = State(given.out, settings)
        if {name: (one.status, one.slices) for name, one in state.units.items()} == before:
            break  # nothing is left to be done
    state = State(given.out, settings)
    state.settle()
    from benchmarks.gpu.units import units

    left = state.pending(list(units(tiny=given.tiny)))
    if given.page is not None:
        given.page.write_text(page(state), encoding="utf-8")
        print(f"wrote {given.page}", file=sys.stderr)
    return _told(state, left)


def _worked(order: dict[str, object], end: float) -> bool:
    """Let a process do units; return whether another one may go on at once."""
    command = [sys.executable, "-m", "benchmarks.gpu.worker", json.dumps(order)]
    process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **environment()})
    try:
        process.wait(max(1.0, end - time.time() + GRACE_S / 2))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False
    return True


def _told(state: State, left: list[str]) -> int:
    for name, unit in state.units.items():
        last = unit.error.strip().splitlines()[-1:] if unit.error else []
        print(f"{unit.status:8} {unit.seconds:7.1f} s  {name}{': ' if last else ''}{''.join(last)}")
    if left:
        print(f"{len(left)} units are left, the next is {left[0]!r}: run the same command again")
        return TO_BE_CONTINUED
    return int(any(one.status is Status.FAILED for one in state.units.values()))


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks gpu",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder in which the state is kept")
    parser.add_argument("--device", default="cuda:0", help="what is checked and measured; cuda:0")
    parser.add_argument("--minutes", type=float, default=9.0, help="length of the slice; 9")
    parser.add_argument("--tiny", action="store_true", help="try the command itself, on anything")
    parser.add_argument("--images", type=Path, help="CIFAR-10 as a folder: train/ and test/")
    parser.add_argument("--again", action="store_true", help="try what failed or was skipped again")
    parser.add_argument(
        "--page", type=Path, nargs="?", const=PAGE, help="write the page; docs/results/gpu.md"
    )
    return parser.parse_args(arguments)
