"""Where a number was made: versions, commit, machine. Stands in records, never in keys."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_LIBRARIES = ("backbench", "torch", "torchvision", "timm", "numpy", "pillow", "faiss-cpu", "scipy")


@functools.cache
def commit() -> str | None:
    """Return the commit of the source tree that runs, with ``+dirty``; ``None`` off a checkout."""
    folder = Path(__file__).parent
    try:
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)  # not a stranger's tree
        head = _git(folder, "rev-parse", "HEAD")
        dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return f"{head}+dirty" if dirty else head


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(  # noqa: S603 - fixed arguments
        ["git", "-C", str(folder), *arguments],  # noqa: S607 - the user's own git
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@functools.cache
def libraries() -> dict[str, str]:
    """Return the versions of the libraries that make numbers."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def collect(device: str) -> dict[str, Any]:
    """Describe the software and the machine.

    Args:
        device: The torch device of the stage.
    """
    threads = gpu = None
    if "torch" in sys.modules:  # never import torch to describe a stage that did without
        torch = sys.modules["torch"]
        threads = torch.get_num_threads()
        gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
    return {
        "commit": commit(),
        "libraries": libraries(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "device": device,
        "gpu": gpu,
        "threads": threads,
    }


@functools.cache
def processor() -> str:
    """Return the processor's name, as well as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
