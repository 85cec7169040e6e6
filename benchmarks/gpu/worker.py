"""Do units one after another, until one fails or the slice ends; arguments: JSON of a context.

A unit that fails ends the process, since a GPU that has failed once may do so again: the command
starts another process for the next unit.
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Final

from backbench.system.arithmetic import ONE_THREAD, standard_arithmetic
from benchmarks.gpu.context import Context, SkippedError
from benchmarks.gpu.state import State, Status, Unit

#: Seconds before the end of a slice at which no unit is begun.
LEAST_S: Final = 5.0

#: Exit code after a unit that failed.
FAILED: Final = 3


def main() -> int:
    """Do the units that are pending."""
    given = json.loads(sys.argv[1])
    context = Context(
        out=Path(given["out"]),
        device=given["device"],
        tiny=given["tiny"],
        images=Path(given["images"]) if given["images"] else None,
        end=given["end"],
    )
    os.environ.update(ONE_THREAD)
    from benchmarks.gpu.units import units  # imports torch

    known = units(tiny=context.tiny)
    state = State(context.out, context.settings)
    for name in state.pending(list(known)):
        if context.left < LEAST_S:
            break
        before = state.units.get(name, Unit())
        unit = Unit(Status.RUNNING, seconds=before.seconds, slices=before.slices)
        state.put(name, unit)
        print(f"{name} …", file=sys.stderr, flush=True)
        start = time.monotonic()
        try:
            with standard_arithmetic():  # as every stage has it: one thread
                unit.result = known[name](context)
            unit.status = Status.DONE
        except SkippedError as reason:
            unit.status, unit.error = Status.SKIPPED, str(reason)
        except KeyboardInterrupt:
            unit.status = Status.PAUSED
        except Exception:  # noqa: BLE001 - whatever a unit raises is its result
            unit.status, unit.error = Status.FAILED, traceback.format_exc()
        unit.seconds += time.monotonic() - start
        state.put(name, unit)
        print(f"{name}: {unit.status}, {unit.seconds:.0f} s", file=sys.stderr, flush=True)
        if unit.status is Status.FAILED:
            return FAILED
        if unit.status is Status.PAUSED:
            break
    return 0


if __name__ == "__main__":
    sys.exit(main())
