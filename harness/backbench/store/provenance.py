"""Origin of a number: versions, commit, machine. In records, never in keys."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from backbench.system.cores import core_count

_LIBRARIES = (
    "backbench",
    "torch",
    "torchvision",
    "timm",
    "numpy",
    "pillow",
    "faiss-cpu",
    "scipy",
    "safetensors",
)

#: Environment variables that numbers, or seconds, may depend on.
_SWITCHES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE",
    "PYTHONHASHSEED",
)


@functools.cache
def commit() -> tuple[str, bool] | None:
    """Return the commit of the source tree that runs, and whether files of it have changed.

    Returns:
        ``None`` off a checkout.
    """
    folder = Path(__file__).parent
    try:
        _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)  # not a stranger's tree
        head = _git(folder, "rev-parse", "HEAD")
        dirty = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return head, bool(dirty)


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
    """Describe the software and the machine; docs/reference/store.md names the values.

    torch is read only where the stage has imported it, and never imported for this.
    """
    tree = commit()
    cores = core_count()
    environment = {name: os.environ[name] for name in _SWITCHES if name in os.environ}
    asked = environment.get("OMP_NUM_THREADS", "")
    threads, threads_of = (int(asked), "OMP_NUM_THREADS") if asked.isdecimal() else (cores, "cores")
    gpu = None
    switches: dict[str, Any] = {}
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        threads, threads_of = torch.get_num_threads(), "torch"
        gpu = torch.cuda.get_device_name(device) if device.startswith("cuda") else None
        switches = {
            "deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "matmul_precision": torch.get_float32_matmul_precision(),
            "cudnn_deterministic": torch.backends.cudnn.deterministic,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        }
    return {
        "commit": tree and tree[0],
        "dirty": tree and tree[1],
        "libraries": libraries(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": cores,
        "device": device,
        "gpu": gpu,
        "threads": threads,
        "threads_of": threads_of,
        "determinism": switches,
        "environment": environment,
    }


@functools.cache
def processor() -> str:
    """Return the processor's name, as far as the system reports it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
