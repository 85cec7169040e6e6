"""The end of a command."""

import subprocess
import sys

CODE = """
import atexit, threading, time
from backbench.system import stopping

stopping.GRACE_S = 0.1
atexit.register(lambda: (time.sleep({at_exit}), print("sent")))
threading.Thread(target=time.sleep, args=({seconds},), name="left").start()
stopping.leave(3)
"""


def ended(seconds, at_exit=0):
    code = CODE.format(seconds=seconds, at_exit=at_exit)
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


def test_what_is_sent_at_the_exit_is_waited_for_once_the_threads_have_ended():
    done = ended(0.01, at_exit=0.5)
    assert (done.returncode, done.stdout, done.stderr) == (3, "sent\n", "")
