"""What the numbers were made on: machine, versions, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from benchmarks.rounds import ROOT

_PACKAGES: Final = (
    "torch",
    "torchvision",
    "numpy",
    "pillow",
    "faiss-cpu",
    "lightly",
    "kornia",
)


def describe() -> dict[str, str]:
    """Return the processor, cores, memory and system; no name of the machine."""
    lines = (line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines())
    known = {name.strip(): value.strip() for name, _, value in lines}
    model = known.get("model name", platform.machine())
    if "cpu family" in known:  # a hypervisor may hide the name
        model += f" (family {known['cpu family']}, model {known['model']})"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": model,
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GiB",
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "Python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Return the versions of what is timed; ``not installed`` where a peer is missing."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def commit() -> str:
    """Return the checkout's commit, with ``+`` if files that git follows were changed."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()
