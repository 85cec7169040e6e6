"""Some of the faults that ``python -m tests.crash`` tries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        not Path("/proc/self/environ").exists(), reason="looks for orphans in /proc"
    ),
]


def test_a_run_completes_to_the_same_bytes_whatever_is_killed_or_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.crash",
            "--stages=5",
            "--steps=24",
            "--kills=2",
            f"--folder={tmp_path}/crash",
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(line.rsplit(maxsplit=1) for line in done.stdout.splitlines())
    assert int(counts["cases"]) > 24
    assert int(counts["cases with something wrong"]) == 0
