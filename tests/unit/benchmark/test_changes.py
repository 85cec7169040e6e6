"""Values of a benchmark file are changed beside it: what is unknown is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Bench, tiny

from backbench.benchmark.changes import changed
from backbench.benchmark.config import load_benchmark
from backbench.errors import Problem
from backbench.plugin.registry import load_registry
from backbench.system.toml import parse_toml


def after(*changes: str) -> tuple[dict[str, Any], list[str]]:
    problems: list[Problem] = []
    tables = changed(parse_toml(tiny(), "tiny"), changes, problems)
    return tables, [str(one) for one in problems]


@pytest.mark.parametrize(
    ("change", "path", "value"),
    [
        ("methods.rotnet.epochs=20", ("methods", "rotnet", "epochs"), 20),
        ('methods . "rotnet" . epochs = 2_0', ("methods", "rotnet", "epochs"), 20),
        ("methods.rotnet.optimizer.lr=0.5", ("methods", "rotnet", "optimizer", "lr"), 0.5),
        ("methods.rotnet.schedule={}", ("methods", "rotnet", "schedule"), {}),
        ("attacks.targeted.rate.value=0.5", ("attacks", "targeted", "rate", "value"), 0.5),
        ("benchmark.name='x = y'", ("benchmark", "name"), "x = y"),
        ("evaluators.knn.k=7", ("evaluators", "knn", "k"), 7),  # only the matrix names it
        ("matrix.0.defenses=['none']", ("matrix", 0, "defenses"), ["none"]),
        ("matrix.0.methods.1='byol'", ("matrix", 0, "methods", 1), "byol"),
    ],
)
def test_a_value_is_changed_and_nothing_else(
    change: str, path: tuple[str | int, ...], value: object
) -> None:
    tables, problems = after(change)
    assert problems == []
    found: Any = tables
    for part in path[:-1]:
        found = found[part]
    assert found.pop(path[-1]) == value
    before = parse_toml(tiny(), "tiny")
    there: Any = before
    for part in path[:-1]:
        there = there.setdefault(part, {}) if isinstance(there, dict) else there[part]
    if path[-1] in there or isinstance(there, list):
        there.pop(path[-1])
    assert tables == before


def test_a_later_change_wins_and_the_file_stays() -> None:
    original = parse_toml(tiny(), "tiny")
    tables = changed(original, ["methods.rotnet.epochs=3", "methods.rotnet.epochs=4"], [])
    assert tables["methods"]["rotnet"]["epochs"] == 4
    assert original == parse_toml(tiny(), "tiny")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("methods.rotnot.epochs=2", "the file has no methods.rotnot: did you mean 'rotnet'?"),
        ("metods.rotnet.epochs=2", "there is no table 'metods': did you mean 'methods'?"),
        ("methods.rotnet", "is no PATH=VALUE, as methods.byol.epochs=20"),
        ("methods=3", "name one of the methods: methods.NAME.OPTION=VALUE"),
        ("benchmark.name=fish", "fish is no value of TOML: write a text in quotes"),
        ("benchmark.name=1\nseeds=2", "is no value of TOML"),
        ("methods.rotnet.epochs.more=1", "methods.rotnet.epochs is 2, which has no 'more'"),
        ("matrix.1.methods='byol'", "matrix has 1 elements, counted from 0, and no '1'"),
        ("matrix.methods='byol'", "matrix has 1 elements, counted from 0, and no 'methods'"),
        ("profiles.quick.seeds=1", "the file has no profiles.quick"),
    ],
)
def test_what_cannot_be_changed_is_one_sentence(change: str, sentence: str) -> None:
    _, problems = after(change)
    assert len(problems) == 1
    assert problems[0].startswith(f"--set {change}: ")
    assert sentence in problems[0]


def test_a_change_is_validated_like_the_file_and_part_of_the_benchmark(tiny_file: Path) -> None:
    changes = ["methods.rotnet.epochs=5", "attacks.targeted.width=6"]
    benchmark = load_benchmark(tiny_file, load_registry(), changes=changes)
    assert benchmark.instances["methods"]["rotnet"].options.model_dump()["epochs"] == 5
    assert benchmark.instances["attacks"]["targeted"].options.model_dump()["width"] == 6
    assert benchmark.changes == tuple(changes)


def test_commands_take_changes_and_print_them(tiny_file: Path, bench: Bench) -> None:
    done = bench("check", str(tiny_file), "--set", 'matrix.0.methods=["rotnet"]').assert_ok()
    assert "8 cells, no problem" in done.out
    assert 'changed: matrix.0.methods=["rotnet"]' in done.err
    wrong = bench("plan", str(tiny_file), "--set", "methods.rotnet.epohs=2")
    assert wrong.code == 2
    assert "methods.rotnet.epohs: unknown key: did you mean 'epochs'?" in wrong.err
    missing = bench("show", str(tiny_file), "--set", "methods.rotnet.epochs=3")
    assert "--set=methods.rotnet.epochs=3" in missing.err
