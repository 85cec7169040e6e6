"""What all tests share."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("BACKBENCH_STORE", None)  # the store of whoever runs the tests

#: Variables that pytest, a test's fixture or a library sets when it is imported.
FREE = (
    "BACKBENCH_CACHE",
    "BACKBENCH_STORE",
    "COLUMNS",
    "KMP_DUPLICATE_LIB_OK",
    "KMP_INIT_AT_FORK",
    "PYTEST_CURRENT_TEST",
    "TORCHINDUCTOR_CACHE_DIR",
    "_MLFLOW_TELEMETRY_SESSION_ID",
)

#: A world so small that a whole matrix takes seconds.
TINY = """
[benchmark]
name = "tiny"
seeds = [0]

[datasets.drawn]
plugin = "embedded"
train_per_class = 24
val_per_class = 8
classes = 4

[attacks.targeted]
plugin = "patch"
target = "CLASS"
rate = { of = "target_class", value = 1.0 }
width = 10

[methods.moco-v2]
preset = "small"
epochs = 2
batch_size = 32
queue = 64
schedule = { warmup_epochs = 0 }

[methods.rotnet]
preset = "small"
epochs = 2
batch_size = 32
schedule = { warmup_epochs = 0 }

[defenses.distill]
preset = "small"
epochs = 2
batch_size = 16
clean_fraction = 0.5
schedule = { warmup_epochs = 0 }

[[matrix]]
datasets = ["drawn"]
attacks = ["none", "targeted"]
methods = ["moco-v2", "rotnet"]
defenses = ["none", "distill"]
evaluators = ["linear", "knn"]
"""


def tiny() -> str:
    """Return the tiny benchmark; its target is a class that the embedded world has."""
    from backbench.data.embedded_classes import class_names

    return TINY.replace("CLASS", class_names(4)[0])


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and how it ended."""

    code: int
    out: str
    err: str

    def assert_ok(self) -> Outcome:
        """Fail with the whole output unless the command ended well."""
        assert self.code == 0, f"exit code {self.code}\n{self.out}\n{self.err}"
        return self


Bench = Callable[..., Outcome]


def backbench(*arguments: str) -> Outcome:
    """Run ``backbench`` in the current folder, in this process."""
    from backbench.cli.main import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        patch.setattr(sys, "argv", ["backbench", *arguments])
        with CliRunner().isolation() as (out, err, _):
            code = 0
            try:
                main()
            except SystemExit as stop:
                code = int(stop.code or 0)
            sys.stdout.flush()
            return Outcome(code, out.getvalue().decode(), err.getvalue().decode())


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """Return :func:`backbench`, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return backbench


@pytest.fixture
def tiny_file(tmp_path: Path) -> Path:
    """Return the tiny benchmark as ``benchmarks.toml`` in the test's folder."""
    path = tmp_path / "benchmarks.toml"
    path.write_text(tiny(), encoding="utf-8")
    return path


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage among what is imported, now and later: that takes seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def _environment_is_stable() -> Iterator[None]:
    """Fail a test that leaves the environment changed."""
    before = dict(os.environ)
    yield
    after = dict(os.environ)
    for name in FREE:
        before.pop(name, None)
        after.pop(name, None)
    assert after == before
