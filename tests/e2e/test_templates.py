"""Each template, from ``backbench plugin new`` to a row: what its README tells the author to do.

No pip: a distribution is a folder on the path that has the metadata of an installed one.
"""

from __future__ import annotations

import importlib
import inspect
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from backbench.cli.root import cli
from backbench.scaffold import TEMPLATES
from backbench.system.arithmetic import standard_arithmetic
from backbench.testing import base
from tests.contract.broken import run

pytestmark = pytest.mark.slow

NAMES = {kind: f"their-{kind}" for kind in TEMPLATES}

#: What makes the benchmarks small. Their stages are shared by one store.
SMALL = {
    "datasets.drawn.train_per_class": 12,
    "datasets.drawn.val_per_class": 4,
    "datasets.their-dataset.train_per_class": 12,
    "datasets.their-dataset.val_per_class": 4,
    "methods.moco-v2.epochs": 1,
    "methods.moco-v2.batch_size": 16,
    "methods.moco-v2.queue": 32,
    "methods.moco-v2.schedule": "{ warmup_epochs = 0 }",
    "methods.their-method.epochs": 1,
    "methods.their-method.batch_size": 16,
    "methods.their-method.schedule": "{ warmup_epochs = 0 }",
    "evaluators.linear.label_fraction": 1.0,
}

#: Tests of a contract that start a process, or train once more.
COSTLY = {
    "test_a_stopped_training_goes_on",
    "test_global_generators_are_untouched",
    "test_labels_are_not_used",
    "test_weights_depend_on_the_seed_alone",
    "test_weights_do_not_follow_from_the_validation_split",
    "test_announcing_does_not_import_torch",
    "test_implementation_does_not_import_torch",
    "test_its_module_does_not_import_torch",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Write a plugin of each kind, and put it on the path; return the folder of all."""
    folder = tmp_path_factory.mktemp("templates")
    with pytest.MonkeyPatch.context() as patch:
        for kind, name in NAMES.items():
            backbench("plugin", "new", kind, name, "--out", str(folder))
            install(folder / name)
            patch.syspath_prepend(str(folder / name))
        base.installed.cache_clear()
        yield folder
    base.installed.cache_clear()
    for name in [one for one in sys.modules if one.partition(".")[0].startswith("their_")]:
        del sys.modules[name]


def backbench(*arguments: str) -> str:
    """Run a command in this process; return what it prints."""
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def install(folder: Path) -> None:
    """Write the metadata that pip writes, beside the package."""
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    info = folder / f"{folder.name.replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    fields = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(fields)
    points = project["entry-points"]["backbench"].items()
    lines = ["[backbench]", *(f"{name} = {module}" for name, module in points)]
    (info / "entry_points.txt").write_text("\n".join(lines))


@pytest.mark.parametrize("kind", TEMPLATES)
def test_a_new_plugin_passes_its_own_contract(
    made: Path, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(made / NAMES[kind] / "tests"))
    monkeypatch.delitem(sys.modules, "test_contract", raising=False)
    tested = importlib.import_module("test_contract")
    (kit,) = [one for name, one in inspect.getmembers(tested) if name.startswith("TestTheir")]
    tests = [name for name in dir(kit) if name.startswith("test_") and name not in COSTLY]
    assert len(tests) >= 5
    with standard_arithmetic():
        for test in tests:
            run(kit(), test, tmp_path)


def rows(board: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(board)["rows"]
    return found


def test_the_benchmark_of_each_gives_a_row(
    made: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(made)
    boards = {}
    for kind, name in NAMES.items():
        file, text = f"{name}/benchmark.toml", Path(name, "benchmark.toml").read_text()
        tables = tomllib.loads(text)
        changes = [
            f"--set={path}={value}"
            for path, value in SMALL.items()
            if path.split(".")[1] in tables.get(path.split(".")[0], {})
        ]
        backbench("run", file, *changes, "--executor=serial", "--store=store")
        board = backbench("show", file, *changes, "--store=store", "--format=json")
        boards[kind] = rows(board)
    for kind, board in boards.items():
        for row in board:
            assert 0 <= row["metrics"]["accuracy/clean"]["mean"] <= 1, kind
    assert [row["attack"] for row in boards["attack"]] == ["their-attack"]
    assert {row["method"] for row in boards["method"]} == {"their-method"}
    assert {row["defense"] for row in boards["defense"]} == {"none", "their-defense"}
    assert {row["evaluator"] for row in boards["evaluator"]} == {"linear", "their-evaluator"}
    assert {row["dataset"] for row in boards["dataset"]} == {"their-dataset"}
    assert all("their-metric" in row["metrics"] for row in boards["metric"])
    assert len(boards["observer"]) == 1
    logged = [one.getMessage() for one in caplog.records if one.name == "their_observer"]
    assert any(line.startswith("their-observer: pretrain took") for line in logged)
