"""``backbench run`` of a whole matrix into an empty store; argv: benchmark file, folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.worker import serve

FILE, STORE = sys.argv[1], Path(sys.argv[2])


def timed(_: None) -> dict[str, Any]:
    """Run everything; the store of the round before goes first, untimed."""
    shutil.rmtree(STORE, ignore_errors=True)
    start = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "backbench", "run", FILE, "--store", str(STORE)],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    seconds = time.perf_counter() - start
    records = [json.loads(path.read_text()) for path in (STORE / "records").glob("*.json")]
    of_kind: dict[str, list[float]] = {}
    for record in records:
        of_kind.setdefault(record["stage"]["kind"], []).append(float(record["wall_s"]))
    return {
        "units": 1,
        "seconds": seconds,
        "stages": {kind: [len(one), sum(one)] for kind, one in of_kind.items()},
    }


serve(lambda: None, timed)
