"""What tests of the validation split share: a search for what is reachable, and a finished run."""

from __future__ import annotations

import functools
import tempfile
import types
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from backbench.benchmark.config import load_benchmark
from backbench.benchmark.planning import make_plan
from backbench.model import StageKind
from backbench.plugin.registry import load_registry
from backbench.stages import inputs as data
from backbench.stages.run import run_stage, runner
from backbench.stages.task import Task
from backbench.store.store import Store, hash_files
from tests.conftest import tiny

_PLAIN = (str, int, float, complex, type(None), Path, type, type(np), np.dtype, np.generic)


def reachable(*things, closures):
    """Yield the arrays and bytes that lead from things by attributes, items, and closures."""
    seen, waiting = {}, list(things)
    while waiting:
        one = waiting.pop()
        if id(one) in seen or isinstance(one, (*_PLAIN, Secrets)):
            continue
        seen[id(one)] = one  # an id is of one object only while that lives
        if isinstance(one, bytes | bytearray | memoryview):
            yield bytes(one)
        elif isinstance(one, torch.Tensor):
            yield one.detach().cpu().numpy()
        else:
            if isinstance(one, np.ndarray):
                yield one
            waiting += _next(one, closures=closures)


def _next(one, *, closures):  # noqa: PLR0911 - a case a kind of thing
    if isinstance(one, np.ndarray):
        return [one.base]
    if isinstance(one, dict):
        return [*one.keys(), *one.values()]
    if isinstance(one, list | tuple | set | frozenset):
        return list(one)
    if type(one) is np.random.Generator:
        return [one.bit_generator.state]  # and not its interfaces to C, which are made when asked
    if isinstance(one, functools.partial):
        return [one.func, one.args, one.keywords]
    if isinstance(one, types.FunctionType):
        cells = (one.__closure__ or ()) if closures else ()
        return [one.__defaults__, *(cell.cell_contents for cell in cells)]
    if hasattr(one, "__self__"):
        return [one.__self__, getattr(one, "__func__", None)]
    if isinstance(one, torch.nn.Module):
        return list(vars(one).values())
    return [value for name in dir(one) if not name.startswith("__") for value in _value(one, name)]


def _value(one, name):
    try:
        return [getattr(one, name)]
    except Exception:  # noqa: BLE001 - a property that does not apply
        return []


class Secrets:
    """Images, features and labels that must not be found."""

    def __init__(self, *, images=(), rows=(), labels=()):
        self.whole = {np.ascontiguousarray(one).tobytes() for one in (*images, *rows, *labels)}

    def found(self, *things, closures=True):
        for one in reachable(*things, closures=closures):
            if isinstance(one, bytes):
                if any(secret in one for secret in self.whole):
                    return True
                continue
            parts = np.ascontiguousarray(one)
            while parts.ndim:
                if parts.tobytes() in self.whole or any(p.tobytes() in self.whole for p in parts):
                    return True
                if parts.ndim < 4:
                    break
                parts = parts.reshape(-1, *parts.shape[2:])
        return False


MATRIX = """
[evaluators.linear-augmented]
label_fraction = 1.0
epochs = 1

[[matrix]]
datasets = ["drawn"]
attacks = ["targeted"]
methods = ["rotnet"]
defenses = ["distill"]
evaluators = ["linear", "linear-augmented"]
"""


class World:
    """The tiny benchmark, run stage by stage, with what must not be seen."""

    def __init__(self, folder):
        (folder / "b.toml").write_text(
            tiny().partition("[[matrix]]")[0].replace("epochs = 2", "epochs = 1") + MATRIX
        )
        self.registry = load_registry()
        plan = make_plan(load_benchmark(folder / "b.toml", self.registry), {"drawn": "content"})
        self.stages = plan.stages
        self.store = Store(folder / "store")
        self.store.prepare()
        for stage in plan.stages.values():
            self.run(stage)

    def run(self, stage):
        return run_stage(stage, self.store, self.registry, "cpu", lambda *_: None)

    def again(self, stage):
        """Run a stage once more without publishing it, whatever has been done to its inputs."""
        data._decoded.cache_clear()
        with tempfile.TemporaryDirectory(dir=self.store.root) as folder:
            task = Task(stage, self.store, Path(folder), self.registry, "cpu", lambda *_: None)
            outcome = runner(stage.kind)(task)
            return SimpleNamespace(metadata=outcome.metadata, files=hash_files(Path(folder)))

    def one(self, kind, reads="dataset"):
        """Return a stage of a kind that reads an input of some role."""
        stages = self.stages.values()
        return next(one for one in stages if one.kind is kind and reads in one.inputs)

    def folder(self, stage):
        return self.store.artifact(stage.key)

    @property
    def dataset(self):
        return self.folder(next(s for s in self.stages.values() if s.kind is StageKind.DATASET))

    @property
    def secrets(self):
        val = load_file(self.dataset / "val.safetensors")
        rows = [
            row
            for stage in self.stages.values()
            if stage.kind is StageKind.FEATURES
            for row in load_file(self.folder(stage) / "features.safetensors")["val"]
        ]
        return Secrets(images=val["pixels"], labels=[val["labels"]], rows=rows)


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """Return the world, made once: a test restores what it changes."""
    return World(tmp_path_factory.mktemp("hygiene"))
