"""``backbench poison`` from its file to the last list; argv: configuration, split, folder."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.worker import serve

CONFIGURATION, SPLIT, FOLDER = sys.argv[1:4]


def prepare() -> Any:
    """Find the plugins."""
    # Imported late: the processes that write import this file as their main module too.
    from backbench.plugin.registry import load_registry

    return load_registry()


def timed(registry: Any) -> dict[str, Any]:
    """Poison into a new folder; what the round before wrote goes first, untimed."""
    from backbench.poison.files.planning import make_plan
    from backbench.poison.files.request import read_request
    from backbench.poison.files.writing import write
    from backbench.system.cores import core_count

    shutil.rmtree(FOLDER, ignore_errors=True)
    start = time.perf_counter()
    given = {"out": Path(FOLDER), "splits": SPLIT}
    plan = make_plan(read_request(Path(CONFIGURATION), given, registry))
    write(plan, core_count(), lambda _: None)
    seconds = time.perf_counter() - start
    done = sum(len(group.indices) for group in plan.groups)
    return {"units": done, "seconds": seconds}


if __name__ == "__main__":
    serve(prepare, timed)
