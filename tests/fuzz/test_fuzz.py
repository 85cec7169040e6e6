"""Some of the inputs that ``python -m tests.fuzz`` tries."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, and limits memory"),
]


def test_whatever_is_read_gives_a_result_or_a_sentence_and_writes_nothing_outside() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--examples", "162"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "162 inputs, 0 problems"
