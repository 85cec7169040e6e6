"""Faults at each file operation of a stage: in processes that are forked with torch imported."""

from __future__ import annotations

import importlib
import os
import pkgutil
import shutil
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from tests.crash import world
from tests.crash.faults import ACTS, Fault, install

#: Seconds after which a run counts as one that hangs.
_LIMIT_S: Final = 120

#: A base of faults besides the labels of stages: no store is there.
EMPTY: Final = "a new store"


@dataclass(frozen=True)
class Step:
    """One fault.

    Args:
        base: Which stage is to be done: its label, or :data:`EMPTY`.
        at: At which operation.
        act: What happens, one of :data:`tests.crash.faults.ACTS`.
        name: The operation.
    """

    base: str
    at: int
    act: str
    name: str

    @property
    def publishes(self) -> bool:
        """Whether the operation is one of those that move a stage into place and record it."""
        return "artifacts/KEY" in self.name or "records/." in self.name

    def __str__(self) -> str:
        return f"{self.act} at operation {self.at} ({self.name}) of {self.base}"


class Steps:
    """Runs of the benchmark in a folder, in forked processes.

    Args:
        folder: Where the benchmark file is; the stores are made below it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        _warm(folder)
        self._whole = {base: self._make(base) for base in (EMPTY, "")}

    @property
    def whole(self) -> dict[str, Any]:
        """The records of the undisturbed run."""
        return self._whole[""]

    def all(self, count: int | None = None, seed: int = 0) -> Iterator[Step]:
        """Yield every fault: those of a new store up to its first stage, and of each stage.

        Args:
            count: So many stages, drawn by the seed; by default one for each way of doing things.
            seed: Of the draw.
        """
        stages = self._stages()
        np.random.default_rng(seed).shuffle(stages)
        for base in (EMPTY, *sorted(stages[:count])):
            names = self._trace(base)
            if base == EMPTY:
                first = next(at for at, name in enumerate(names) if name.startswith("rename tmp"))
                names = names[:first]
            for act in ACTS:
                chosen = [name for name in names if act != "power" or name.startswith("fsync")]
                for at, name in enumerate(chosen, 1):
                    yield Step(base, at, act, name)

    def problems(self, step: Step) -> Iterator[str]:
        """Run into a fault, then run again; yield what is wrong."""
        store, whole = self._store(step.base), self._whole[EMPTY if step.base == EMPTY else ""]
        self._undo(step.base)
        code, log = self._run(step.base, Fault(str(store), step.at, step.act))
        kills = step.act in {"kill", "power"}
        if (code != -signal.SIGKILL) if kills else (code not in {0, 1, 2}):
            yield f"ended with {code}:\n{log}"
        if "Traceback" in log:
            yield f"printed a traceback:\n{log}"
        yield from world.torn(store)
        before = world.published(store)
        code, log = self._run(step.base)
        if code != 0:
            yield f"the run after it ended with {code}:\n{log}"
        yield from world.differences(store, whole)
        after = world.published(store)
        for key in sorted(before):
            if before[key] != after.get(key):
                yield f"done again without need: {whole[key]['stage']['label']}"

    def mend(self) -> None:
        """Make the finished store anew after a case that failed."""
        shutil.rmtree(self._store(""), ignore_errors=True)
        self._make("")

    def _store(self, base: str) -> Path:
        return self._folder / ("new" if base == EMPTY else "steps")

    def _run(self, base: str, fault: Fault | None = None) -> tuple[int, str]:
        """Run the benchmark; return its exit code, or minus its signal, and what it printed."""
        arguments = ["run", "--store", self._store(base).name, "--executor", "serial"]
        arguments += ["--profile", "small"] if base == EMPTY else []
        code = _forked(self._folder, arguments, fault)
        return code, (self._folder / "log").read_text(encoding="utf-8", errors="replace")

    def _make(self, base: str) -> dict[str, Any]:
        """Run without a fault; return the records."""
        code, log = self._run(base)
        if code:
            raise RuntimeError(f"an undisturbed run ended with {code}:\n{log}")
        return world.records(self._store(base))

    def _stages(self) -> list[str]:
        """Return the labels of stages, one for each way of doing things."""
        found: dict[Any, str] = {}
        for record in self._whole[""].values():
            stage = record["stage"]
            names = [(stage.get(role) or {}).get("name", "") for role in ("plugin", "guard")]
            way = (stage["kind"], *names, *sorted(stage["inputs"]))
            found.setdefault(way, stage["label"])
        return sorted(found.values())

    def _trace(self, base: str) -> list[str]:
        """Return the names of the operations of a run that meets no fault."""
        self._undo(base)
        lines = self._folder / "trace"
        lines.unlink(missing_ok=True)
        self._run(base, Fault(str(self._store(base)), trace=str(lines)))
        return lines.read_text(encoding="utf-8").splitlines()

    def _undo(self, base: str) -> None:
        """Take a stage out of the finished store, and nothing that was made from it."""
        store = self._store(base)
        if base == EMPTY:
            shutil.rmtree(store, ignore_errors=True)
            return
        (key, *_) = (key for key, one in self._whole[""].items() if one["stage"]["label"] == base)
        (store / "records" / f"{key}.json").unlink()
        shutil.rmtree(store / "artifacts" / key)


def _warm(folder: Path) -> None:
    """Import what stages import and read the benchmark, so that forked processes need not."""
    import torch
    from PIL import Image

    from backbench.api.experiment import load

    torch.set_num_threads(1)
    Image.init()
    for room in ("api", "cli", "data", "stages", "training", "views", "nn", "store", "execution",
                 "estimate", "report", "results"):  # fmt: skip
        package = importlib.import_module(f"backbench.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    for name in ("attacks.badencoder", "attacks.blto", "attacks.corrupt_encoder", "attacks.patch",
                 "ssl.rotnet", "ssl.moco", "defenses.dede", "defenses.decree", "defenses.distill",
                 "defenses.localized_cropping", "defenses.patch_search", "evaluators.flip_rate",
                 "evaluators.knn", "evaluators.paired_rows"):  # fmt: skip
        importlib.import_module(f"backbench_{name}")
    load(folder / "benchmarks.toml")


def _forked(folder: Path, arguments: Sequence[str], fault: Fault | None) -> int:
    """Run the command in a process of its own; return its exit code, or minus its signal."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        code = 99
        try:
            signal.alarm(_LIMIT_S)  # what hangs is killed by it
            os.chdir(folder)
            log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = _command(arguments, fault)
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _command(arguments: Sequence[str], fault: Fault | None) -> int:
    from backbench.cli.main import main

    sys.argv = ["backbench", *arguments]
    if fault:
        install(fault)
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    except BaseException:  # noqa: BLE001 - printed, and found by the parent
        traceback.print_exc()
    return 99
