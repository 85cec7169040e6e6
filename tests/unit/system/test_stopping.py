"""The end of a command."""

import subprocess
import sys

import pytest

CODE = """
import atexit, threading, time
from backbench.system import stopping

stopping.GRACE_S = 0.1
atexit.register(lambda: (time.sleep({at_exit}), print("sent")))
{left}
stopping.leave(3)
"""

THREAD = 'threading.Thread(target=time.sleep, args=({seconds},), name="left").start()'
POOL = """
from concurrent.futures import ThreadPoolExecutor
ThreadPoolExecutor(1, "left").submit(time.sleep, {seconds})
"""
PROCESS = """
import multiprocessing
multiprocessing.get_context("fork").Process(target=time.sleep, args=({seconds},), name="left").start()
"""
PROCESS_POOL = """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
pool = ProcessPoolExecutor(1, multiprocessing.get_context("fork"))
pool.submit(time.sleep, {seconds})
"""
LEFT = {"thread": THREAD, "pool": POOL, "process": PROCESS, "process pool": PROCESS_POOL}


def ended(seconds, at_exit=0, left="thread"):
    code = CODE.format(left=LEFT[left].format(seconds=seconds), at_exit=at_exit)
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_a_thread_that_never_ends_does_not_keep_a_command():
    done = ended(600)
    assert done.returncode == 3
    assert done.stderr == "warning: threads that a plugin has left are ended: 'left'\n"


@pytest.mark.parametrize(
    ("left", "words"),
    [
        ("pool", ["threads", "left_0"]),
        ("process", ["processes", "left"]),
        ("process pool", ["threads", "processes"]),
    ],
)
def test_pools_and_processes_that_never_end_do_not_keep_a_command(left, words):
    done = ended(600, left=left)
    assert done.returncode == 3
    assert done.stderr.startswith("warning: ")
    assert all(word in done.stderr for word in words)


@pytest.mark.parametrize("left", LEFT)
def test_what_ends_is_waited_for(left):
    done = ended(0.01, left=left)
    assert (done.returncode, done.stderr) == (3, "")


def test_what_is_sent_at_the_exit_is_waited_for_once_the_threads_have_ended():
    done = ended(0.01, at_exit=0.5)
    assert (done.returncode, done.stdout, done.stderr) == (3, "sent\n", "")
