"""The end of a command."""

import subprocess
import sys

CODE = """
import threading, time
from backbench.system import stopping

stopping.GRACE_S = 0.1
threading.Thread(target=time.sleep, args=({seconds},), name="left").start()
stopping.leave(3)
"""


def ended(seconds):
    code = CODE.format(seconds=seconds)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_thread_that_never_ends_does_not_keep_a_command():
    done = ended(600)
    assert done.returncode == 3
    assert done.stderr == "warning: threads that a plugin has left are ended: 'left'\n"


def test_a_thread_that_ends_is_waited_for():
    done = ended(0.01)
    assert (done.returncode, done.stderr) == (3, "")
