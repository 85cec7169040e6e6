"""Operations whose growth is measured, each time in a process of its own.

``growth <operation> <size> <folder>``: a command of the harness on a synthetic store of so many
encoders (``plan``, ``show``, …), the same with so many training images (``plan-images``) or
workers (``workers``), or an operation on images of :mod:`benchmarks.workers.growth_once`.
"""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from benchmarks import synthetic
from benchmarks.worker import serve
from benchmarks.workers import growth_once

_MORE: Final[Mapping[str, tuple[str, ...]]] = {"show --asr": ("--asr", "all-images")}

#: Encoders in the store that commands read: 5,600 cells and 10,080 evaluations, controls too.
MOST_ENCODERS: Final = 1400

_WORKERS: Final = """
[benchmark]
name = "workers"
seeds = [0, 1]
[datasets.drawn]
plugin = "embedded"
train_per_class = 60
val_per_class = 20
[methods.rotnet]
preset = "small"
epochs = 2
schedule = { warmup_epochs = 0 }
[methods.moco-v2]
preset = "small"
epochs = 2
schedule = { warmup_epochs = 0 }
[evaluators.knn]
preset = "small"
[[matrix]]
datasets = ["drawn"]
methods = ["rotnet", "moco-v2"]
evaluators = ["knn"]
"""


def _command(*arguments: str) -> dict[str, Any]:
    """Run a command; start-up counts."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    with growth_once.Peak(str(process.pid), every=0.01) as peak:
        out, err = process.communicate()
    seconds = time.perf_counter() - start
    if process.returncode not in {0, 1, 3}:  # verify and claims may say no
        raise RuntimeError(f"{arguments}: {process.returncode}: {err[-2000:]}")
    return {
        "seconds": seconds,
        "peak_mib": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024,
        "anonymous_mib": peak.mib,
        "said": hashlib.sha256(out.encode()).hexdigest(),
        "text": out[-400:],
    }


def _on_cells(operation: str, size: int, folder: Path) -> Callable[[], dict[str, Any]]:
    # Files of fewer encoders plan a part of what the store of the most has; but `verify` reads
    # all that is there.
    made = folder / f"store-{size if operation == 'verify' else MOST_ENCODERS}"
    if not made.is_dir():
        partial = made.with_name(f"{made.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        synthetic.make(partial, int(made.name.removeprefix("store-")))
        partial.rename(made)
    file = folder / f"encoders-{size}.toml"
    file.write_text(synthetic.benchmark_text(size), encoding="utf-8")
    which = () if operation == "check" else ("--store", str(made / "store"))
    words = (operation.split(maxsplit=1)[0], str(file), *which, *_MORE.get(operation, ()))
    return lambda: _command("backbench", *words)


def _plan_of_images(size: int, folder: Path) -> Callable[[], dict[str, Any]]:
    file = folder / f"plan-{size}.toml"
    file.write_text(growth_once.file_text(size, folder), encoding="utf-8")
    return lambda: _command("backbench", "plan", str(file), "--store", str(folder / "none"))


def _workers(count: int, folder: Path) -> Callable[[], dict[str, Any]]:
    file, store = folder / "workers.toml", folder / f"workers-{count}"
    file.write_text(_WORKERS, encoding="utf-8")

    def run() -> dict[str, Any]:
        shutil.rmtree(store, ignore_errors=True)
        return _command("backbench", "run", str(file), "--store", str(store), "-j", str(count))

    return run


def _on_images(operation: str, size: int, folder: Path) -> Callable[[], dict[str, Any]]:
    made = folder / f"{'files' if operation == 'decode' else 'images'}-{size}"
    if operation != "k-NN" and not made.is_dir():
        prepare = growth_once.prepare_files if operation == "decode" else growth_once.prepare
        prepare(size, made)
    module = "benchmarks.workers.growth_once"

    def run() -> dict[str, Any]:
        for left in ("out", "store/building"):  # a decoding goes on where another one ended
            shutil.rmtree(made / left, ignore_errors=True)
        said = _command(module, operation, str(size), str(made))
        found: dict[str, Any] = json.loads(said["text"])
        return found

    return run


def operation(name: str, size: int, folder: Path) -> Callable[[], dict[str, Any]]:
    """Make an operation ready."""
    folder.mkdir(parents=True, exist_ok=True)
    if name in growth_once.OPERATIONS:
        return _on_images(name, size, folder)
    if name == "plan-images":
        return _plan_of_images(size, folder)
    if name == "workers":
        return _workers(size, folder)
    return _on_cells(name, size, folder)


def main() -> None:
    """Serve one operation."""
    name, size, folder = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])

    def timed(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return {"units": size, **run()}

    serve(lambda: operation(name, size, folder), timed)


if __name__ == "__main__":
    main()
