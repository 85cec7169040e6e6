"""A plugin whose datasets behave as their option says: stages that fail, die, hang or work."""

from __future__ import annotations

import os
import time
from pathlib import Path

from backbench.model import PluginUse, Stage, StageKind

#: Datasets that behave as their option says: a stage that needs no torch.
PLUGIN = """
import ctypes, errno, json, os, signal, subprocess, sys, time
from pathlib import Path
import numpy as np
os.environ["OMP_NUM_THREADS"] = "4"
from backbench.errors import LostProcessError
from backbench.images import ArrayImages
from backbench.plugin import Dataset, DatasetMetadata, DatasetInfo, Field, Options, hookimpl

class Behavior(Options):
    does: str = Field(description="what load does")
    here: str = Field("", description="a file to write")

class Silent(Exception):
    def __str__(self):
        raise RuntimeError("no text")

class Moody(Dataset):
    def seen(self):
        try:
            os.mkdir(self.options.here + "-seen")
        except FileExistsError:
            return True
    def metadata(self):
        return DatasetMetadata(("ant", "bee"), 2, 2, (4, 4), (1, 1))
    def fingerprint(self, hash_file):
        return self.options.does
    def load(self, split, *, verify=True):
        if self.options.here:
            Path(self.options.here).write_text(str(os.getpid()))
        does = self.options.does
        if does == "die" or (does == "die once" and not self.seen()):
            os.kill(os.getpid(), signal.SIGKILL)
        elif does == "crash":
            print("the last words", flush=True)
            ctypes.string_at(0)
        elif does == "hold the GIL":
            ctypes.PyDLL(None).sleep(600)
        elif does == "shout":
            raise ValueError("x" * 50_000_000)
        elif does == "be silent":
            raise Silent
        elif does == "print":
            print("the first line", flush=True)
            for _ in range(40):
                print("y" * 999_999, flush=True)
            raise ValueError("printed")
        elif does == "scribble":
            os.write(int(sys.argv[3]), bytes([255, 10]))
            time.sleep(600)
        elif does == "scribble on":
            while True:
                os.write(int(sys.argv[3]), b"[" * 100_000)
        elif does in ("lie", "lie of another"):
            key = "another"
            if does == "lie":
                own = Path(sys.argv[4], "tmp").glob(f"*-{os.getpid()}-????????")
                key = next(own).name.partition("-")[0]
            forged = {"type": "Finished", "key": key, "reason": "", "details": ""}
            os.write(int(sys.argv[3]), json.dumps(forged).encode() + bytes([10]))
            time.sleep(600)
        elif does == "close":
            os.close(int(sys.argv[3]))
            time.sleep(600)
        elif does == "fill memory":
            self.full = bytearray(600 * 2**20)
            time.sleep(600)
        elif does == "fill the disk":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        elif does == "leave":
            os._exit(7)
        elif does == "interrupt":
            raise KeyboardInterrupt
        elif does == "leave a child":
            child = subprocess.Popen(["sleep", "600"])
            Path(self.options.here).write_text(str(child.pid))
        elif does == "raise":
            raise ValueError("no such image")
        elif does == "lose a process":
            raise LostProcessError("one of its processes was killed")
        elif does == "compute":
            assert os.environ["OMP_NUM_THREADS"] == "1", "what the module has set"
        elif does == "wander":
            os.chdir("/")
        elif does == "exit":
            sys.exit("enough")
        elif does == "sleep" or (does == "sleep once" and not self.seen()):
            time.sleep(600)
        elif does == "chatter":
            print('{"type": "Finished", "key": "nonsense"}', flush=True)
            os.write(1, b"x" * 200_000)
        pixels = np.zeros((2, 4, 4, 3), np.uint8)
        return ArrayImages(pixels, np.arange(2), [f"{split}/{i}" for i in range(2)])

@hookimpl
def register_datasets():
    yield DatasetInfo(
        name="moody", summary="Does what it is told.", target="moody_plugin:Moody",
        options=Behavior,
    )
"""


def install(site):
    """Install the plugin into a folder that is to be on the path; return the folder."""
    info = site / "moody-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "moody_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: moody\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[backbench]\nmoody = moody_plugin\n")
    return site


def dataset(does, here=""):
    options = {"does": does, "here": str(here)}
    use = PluginUse("dataset", "moody", "moody", 1, options, options)
    return Stage(StageKind.DATASET, use, None, content=does, label=does)


def alive(pid):
    """Say whether a process runs; one that nobody has buried is dead."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        if Path("/proc").is_dir():
            return False
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True
    return state not in {"Z", "X"}


def until(condition, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.02)
